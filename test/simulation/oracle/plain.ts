import type { Entry, ObjectRecord, QueueItem } from '../../../lib/store/model.ts';
import type { MemoryObject } from '../../../lib/testing/backend/memory-backend.ts';
import type { Content } from './content.ts';
import type { DrainsCheck } from './drains.ts';
import { descriptionIn, hashOf, keyWithin } from './reading.ts';
import { partsOf, placeOf, type Sight } from './sight.ts';
import { Violation } from './violation.ts';

/** Files that external clients keep under plain keys: what of them may be recorded, and when one may be removed. */
export interface PlainCheck {
  /** An external client wrote the file that is there now, or removed it. */
  externalClientActed(backend: string, key: string): void;
  /** An external client wrote over bytes of ours: what is there now may become a file like others, and may be deleted like ours. */
  rewritten(backend: string, storageKey: string): void;
  /** Whether an external client ever kept a file at a place. */
  isExternal(place: string): boolean;
  /** The file at the key of an entry, if what made its generation was an import or an external client's overwrite. */
  contentOf(entry: Entry): Content | undefined;
  recordChanged(before: Entry | null, after: Entry | null, why: 'deleted' | 'brought back' | 'otherwise'): void;
  itemAdded(item: QueueItem): void;
  /** Whether the recorded file of a plain copy is not the one that is there: its owner acted since. */
  isChanged(record: ObjectRecord, backend: string): boolean;
  /** Whether all there was of an object were files that are gone, others now, or were never content. */
  isGone(entry: Entry | null): boolean;
  /** Why this delete of an external client's file may not be; null when it may. */
  whyNotDeleted(place: string, ifMatch: string | undefined): string | null;
  /** A delete of ours takes effect. */
  deleted(place: string, ifMatch: string | undefined): void;
  /** What was queued in this step, somebody asked for. */
  check(): void;
  /** Every file is as external clients, and deletes that people asked for, left it. */
  checkAll(): void;
  /** Whether a file is still there that a delete left behind. */
  hasForsaken(): boolean;
  /** At rest with imports on: files that are neither recorded nor remembered, queued or impossible to import. */
  unsettled(): string[];
}

const longestKey = 997;
/** Two clocks may be this far apart. */
const skewMs = 10_000;

export function createPlainCheck(sight: Sight, drains: DrainsCheck): PlainCheck {
  const { world, backends, objects, queue } = sight;
  /** Everything that external clients ever left at a place, by ETag. */
  const versions = new Map<string, Map<string, MemoryObject>>();
  /** What they left where bytes of ours were. */
  const overOurs = new Map<string, Map<string, MemoryObject>>();
  /** What must be there now. */
  const left = new Map<string, MemoryObject | undefined>();
  /** ETags that tombstones remember: of files that a delete left there, and whose owners have not acted since. */
  const forsaken = new Map<string, string>();
  /** Ids of queue items that a person's delete or a drain may make. */
  const asked = new Set<string>();
  let added: QueueItem[] = [];
  /** Files that were recorded in this step. */
  let recordedNow: { readonly id: string; readonly where: string; readonly key: string }[] = [];

  const report = (invariant: string, message: string, key: string) =>
    sight.report(new Violation(invariant, message, key));
  const versionAt = (backend: string, key: string, etag: string | undefined) =>
    etag === undefined
      ? undefined
      : (versions.get(placeOf(backend, key))?.get(etag) ?? overOurs.get(placeOf(backend, key))?.get(etag));
  const plainOf = (entry: Entry | null) =>
    entry?.kind === 'object' ? Object.keys(entry.copies).filter((name) => entry.copies[name] === '') : [];

  /** Somebody copied bytes of ours there, mark and all: whatever it holds, it is nobody's content. */
  const isMarked = (key: string, backend: string) => left.get(placeOf(backend, key))?.metadata.holdfast !== undefined;
  const isChanged = ({ key, plainEtags }: ObjectRecord, backend: string) =>
    left.get(placeOf(backend, key))?.etag !== plainEtags?.[backend];

  /** Bytes are named by their ETag: they were there, they are what is recorded, and nobody had asked to delete them. */
  function recorded(before: Entry | null, after: ObjectRecord, name: string): void {
    const { key, sizeBytes, sha256 } = after;
    const etag = after.plainEtags?.[name];
    const had = before?.kind === 'object' && before.copies[name] === '' ? before.plainEtags?.[name] : undefined;
    const where = `The file "${key}" on ${name}`;
    const version = versionAt(name, key, etag);
    if (version === undefined) {
      report('plain files', `${where} is recorded under ETag ${etag}, which nobody left there`, key);
      return;
    }
    if (version.sizeBytes !== sizeBytes || (sha256 !== undefined && hashOf(version) !== sha256))
      report('plain files', `${where} is recorded with other content than it had under ETag ${etag}`, key);
    if (had === etag) return;
    const isJoining = before?.kind !== 'object' || before.copies[name] === undefined;
    if (isJoining && drains.isSeen(name)) report('plain files', `${where} is recorded while ${name} drains`, key);
    // Only where a name is like ours is a mark asked for before a file is recorded; elsewhere whoever reads it finds it.
    const isLookedAt = keyWithin(key) !== null || sha256 !== undefined;
    if (isJoining && isLookedAt && version.metadata.holdfast !== undefined)
      report('plain files', `${where} has a mark, and is recorded`, key);
    // Whoever records it may end its item in the same transaction.
    if (queue.has(`${name}/${key}/${etag}`)) recordedNow.push({ id: `${name}/${key}/${etag}`, where, key });
    if (forsaken.get(placeOf(name, key)) === etag)
      report('plain files', `${where}, which a delete left there, is recorded again`, key);
  }

  /** Only an import makes a generation of nothing, and only of what a record names does an overwrite make another. */
  function checkOrigin(before: Entry | null, after: ObjectRecord): void {
    const [name] = plainOf(after);
    if (name === undefined || before?.kind !== 'object') return;
    if (before.copies[name] !== '' || before.plainEtags?.[name] === after.plainEtags?.[name])
      report(
        'plain files',
        `"${after.key}" gave way to the file on ${name}, which its owner did not overwrite`,
        after.key,
      );
  }

  return {
    externalClientActed(backend, key) {
      const place = placeOf(backend, key);
      const existing = backends.get(backend)!.peek(key);
      left.set(place, existing);
      forsaken.delete(place);
      const known = versions.get(place) ?? new Map<string, MemoryObject>();
      versions.set(place, known);
      if (existing !== undefined) known.set(existing.etag, existing);
    },
    rewritten(backend, storageKey) {
      const place = placeOf(backend, storageKey);
      const existing = backends.get(backend)!.peek(storageKey)!;
      overOurs.set(place, new Map([...(overOurs.get(place) ?? []), [existing.etag, existing]]));
    },
    isExternal: (place) => versions.has(place),
    contentOf(entry) {
      if (entry.kind !== 'object') return undefined;
      const [name] = plainOf(entry);
      const version = name === undefined ? undefined : versionAt(name, entry.key, entry.plainEtags?.[name]);
      if (version === undefined) return undefined;
      return { sizeBytes: version.sizeBytes, sha256: hashOf(version), description: descriptionIn(version) };
    },
    recordChanged(before, after, why) {
      if (after?.kind === 'tombstone')
        for (const [name, etag] of Object.entries(after.plainEtags ?? {})) forsaken.set(placeOf(name, after.key), etag);
      const had = plainOf(before);
      const has = plainOf(after);
      if (had.length === 0 && has.length === 0) return;
      // Whoever brings a file back asks no longer for its delete, which ends in the same transaction.
      if (why === 'brought back')
        for (const name of has) {
          asked.delete(`${name}/${after!.key}/${after!.plainEtags?.[name]}`);
          forsaken.delete(placeOf(name, after!.key));
        }
      for (const name of has) recorded(before, after as ObjectRecord, name);
      if (after?.kind === 'object' && before?.generation !== after.generation && why !== 'brought back')
        checkOrigin(before, after);
      const isCleaner = world.current?.actor.role === 'over-replication-cleaner';
      for (const name of had.filter((backend) => !has.includes(backend))) {
        const id = `${name}/${before!.key}/${before!.plainEtags?.[name]}`;
        if (why === 'deleted' || (isCleaner && drains.mayBeSeen(name) && drains.mayDeleteImported(name))) asked.add(id);
      }
    },
    itemAdded(item) {
      // Whoever restored it did not ask what stands there now.
      if (sight.revived.has(item.id)) return;
      if (item.storageKey === item.key || versions.has(placeOf(item.backend, item.storageKey))) added.push(item);
    },
    isChanged,
    isGone: (entry) =>
      entry?.kind === 'object' &&
      Object.keys(entry.copies).every((b) => entry.copies[b] === '' && (isChanged(entry, b) || isMarked(entry.key, b))),
    whyNotDeleted(place, ifMatch) {
      if (ifMatch === undefined) return 'deletes a file that we did not write, whatever it is now';
      return asked.has(`${place}/${ifMatch}`) ? null : 'deletes a file that nobody asked to delete';
    },
    deleted(place, ifMatch) {
      const [backend] = partsOf(place);
      const isAble = backends.get(backend)!.capabilities.conditionalDelete;
      if (isAble && ifMatch !== undefined && left.get(place)?.etag === ifMatch) left.set(place, undefined);
    },
    check() {
      for (const { id, where, key } of recordedNow)
        if (queue.has(id)) report('plain files', `${where} is recorded while its delete is queued`, key);
      recordedNow = [];
      if (added.length === 0) return;
      for (const { id, key } of added)
        if (!asked.has(id)) report('3 deletes', `The file ${id}, which we did not write, is queued unasked`, key);
      added = [];
    },
    checkAll() {
      for (const [place, object] of left) {
        const [backend, key] = partsOf(place);
        if (backends.get(backend)!.peek(key) !== object)
          report('3 deletes', `The file "${place}", which we did not write, was touched`, key);
      }
    },
    hasForsaken: () => [...forsaken].some(([place, etag]) => left.get(place)?.etag === etag),
    unsettled: () =>
      [...left].flatMap(([place, file]) => {
        const [backend, key] = partsOf(place);
        if (file === undefined || file.metadata.holdfast !== undefined || Buffer.byteLength(key) > longestKey)
          return [];
        const entry = objects.get(key);
        if (entry?.plainEtags?.[backend] === file.etag || queue.has(`${place}/${file.etag}`)) return [];
        // A delete is not undone by a file that is older than it, for as long as it is remembered.
        if (entry?.kind === 'tombstone' && file.lastModified - skewMs <= entry.deletedAt) return [];
        // Reported on every pass: the object has a copy of its own there, or cannot be compared with the file.
        if (entry?.kind === 'object' && (entry.copies[backend] ?? '') !== '') return [];
        if (entry?.kind === 'object' && entry.sha256 === undefined && plainOf(entry).every((b) => isChanged(entry, b)))
          return [];
        if (drains.isNow(backend)) return [];
        // Older than the delete of its object: whoever deleted that may have known of it.
        if (entry?.kind === 'tombstone' && file.lastModified <= entry.deletedAt) return [];
        return [`The file "${key}" on ${backend} is neither recorded nor remembered`];
      }),
  };
}
