import type { Entry, ObjectRecord } from '../../../lib/store/model.ts';
import type { MemoryObject } from '../../../lib/testing/backend/memory-backend.ts';
import type { Actor } from '../operation.ts';
import type { ClientCall } from './calls.ts';
import type { Description } from './content.ts';
import { isSameDescription } from './content.ts';
import type { PlainCheck } from './plain.ts';
import { descriptionIn, hashOf, keyWithin, storageKeyOf } from './reading.ts';
import { namedBy, partsOf, placeOf, type Sight } from './sight.ts';
import { Violation } from './violation.ts';

/** Bytes of ours on a backend that neither a record nor a queue item names. */
export interface Orphan {
  readonly backend: string;
  readonly storageKey: string;
  /** The writer failed, was killed, or its request took effect when nobody waited any more. */
  readonly isExplained: boolean;
  /** The writer is at work: it may be about to name them. */
  readonly isInHand: boolean;
  /** A sweep leaves it to people: their metadata may be what was lost. */
  readonly isForPeople: boolean;
}

/** Invariants 1 and 2: what the records say of bytes, and what may be taken out of them. */
export interface BytesCheck {
  written(backend: string, storageKey: string, by: Actor, isLate: boolean): void;
  harmed(backend: string, storageKey: string, isUnseen: boolean): void;
  forged(backend: string, storageKey: string): void;
  hasForged(key: string): boolean;
  /** An external client wrote or removed a file. */
  externalClientActed(backend: string, key: string): void;
  /** A record changed: what it names now was verified first, and what it names no more was to spare. */
  recordChanged(before: Entry | null, after: Entry | null): void;
  /** Invariant 1, for one key; and that what was recorded in this step is named once. */
  check(key: string): void;
  /** Copies of a record whose bytes are there as recorded. */
  goodCopies(entry: ObjectRecord): string[];
  /** Copies that a bucket hides under a delete marker: they cannot be read, and that they are lost nobody can say. */
  hiddenCopies(entry: ObjectRecord): string[];
  /** Bytes of ours of which a bucket keeps older versions although nothing names them. */
  versionsLeft(): string[];
  orphans(): Orphan[];
}

/** What was found of a copy: the same of the same bytes. */
interface Judged {
  readonly bytes: MemoryObject | undefined;
  readonly put: ClientCall | undefined;
  readonly description: Description | undefined;
  readonly isGood: boolean;
}

/** Workers that take copies out of records on evidence. */
const judges: ReadonlySet<string> = new Set(['replicator', 'scrubber', 'reconciler']);

export function createBytesCheck(sight: Sight, plain: PlainCheck): BytesCheck {
  const { world, faults, backends, report } = sight;
  /** When a fault last changed bytes. */
  const harmedAt = new Map<string, number>();
  /** When their owner last changed a file that we did not write. */
  const changedAt = new Map<string, number>();
  /** Bytes that were stored other than sent, under an ETag that does not tell. */
  const unseen = new Set<string>();
  /** Bytes that only look like ours. */
  const forged = new Set<string>();
  const writers = new Map<string, { readonly by: Actor; readonly isLate: boolean; readonly step: number }>();

  function bytesOf(record: ObjectRecord, name: string): MemoryObject | undefined {
    return backends.get(name)?.contents().get(storageKeyOf(record.key, record.copies[name]!));
  }

  /** By record and backend: what was last found, and of what. */
  const judged = new WeakMap<ObjectRecord, Map<string, Judged>>();

  function isAsRecorded(record: ObjectRecord, name: string): boolean {
    const bytes = bytesOf(record, name);
    const put = sight.calls.putOf(record);
    const description = sight.calls.descriptionOf(record);
    const known = judged.get(record) ?? new Map<string, Judged>();
    judged.set(record, known);
    const last = known.get(name);
    if (last !== undefined && last.bytes === bytes && last.put === put && last.description === description)
      return last.isGood;
    const isGood = isFoundGood(record, name);
    known.set(name, { bytes, put, description, isGood });
    return isGood;
  }

  function isFoundGood(record: ObjectRecord, name: string): boolean {
    const bytes = bytesOf(record, name);
    if (record.copies[name] === '' && bytes?.etag !== record.plainEtags?.[name]) return false;
    const sha256 = record.sha256 ?? sight.calls.putOf(record)?.sha256;
    if (bytes?.sizeBytes !== record.sizeBytes || (sha256 !== undefined && hashOf(bytes) !== sha256)) return false;
    const description = sight.calls.descriptionOf(record);
    return description === undefined || isSameDescription(description, descriptionIn(bytes));
  }

  function hiddenCopies(record: ObjectRecord): string[] {
    return Object.keys(record.copies).filter((name) => {
      const storage = storageKeyOf(record.key, record.copies[name]!);
      const bucket = backends.get(name)!;
      return bucket.peek(storage) === undefined && bucket.olderVersions(storage).length > 0;
    });
  }

  /** Bytes are verified before they are recorded, and their queue item ends in the same transaction. */
  function copiesAdded(before: Entry | null, after: ObjectRecord): void {
    for (const [name, copyId] of Object.entries(after.copies)) {
      // What may be recorded of a file that we did not write is a rule of its own.
      if (copyId === '' || (before?.kind === 'object' && before.copies[name] === copyId)) continue;
      const storage = storageKeyOf(after.key, copyId);
      const place = placeOf(name, storage);
      const isHarmedSince = (harmedAt.get(place) ?? -1) > (writers.get(place)?.step ?? Number.POSITIVE_INFINITY);
      if (isAsRecorded(after, name) || unseen.has(place) || isHarmedSince) continue;
      const message = `"${storage}" on ${name} is recorded although it is not stored as it was sent`;
      report(new Violation('verified first', message, after.key));
    }
  }

  /** Invariant 2. What a fault or an owner did, or a fault hid, while the actor was at work is not its doing. */
  function copiesRemoved(before: ObjectRecord, after: ObjectRecord): void {
    const removed = Object.keys(before.copies).filter((name) => after.copies[name] !== before.copies[name]);
    if (removed.length === 0) return;
    const since = world.current?.actor.startedStep ?? 0;
    const role = world.current?.actor.role ?? 'nobody';
    const isCleaner = role === 'over-replication-cleaner';
    const isReachable = (name: string) =>
      !faults.isUnreachableSinceBefore(name, since) && !sight.places.isOutSinceBefore(name, since);
    const wasMisled = (name: string) => faults.misledSince(name, storageKeyOf(before.key, before.copies[name]!), since);
    const isGood = (name: string) => isAsRecorded(before, name) && isReachable(name) && !wasMisled(name);
    const remains = (name: string) => {
      const place = placeOf(name, storageKeyOf(after.key, after.copies[name]!));
      const lastChangedAt = Math.max(harmedAt.get(place) ?? -1, changedAt.get(place) ?? -1);
      return isAsRecorded(after, name) || lastChangedAt >= since;
    };
    const isHiddenSince = (name: string) =>
      hiddenCopies(before).includes(name) &&
      (harmedAt.get(placeOf(name, storageKeyOf(before.key, before.copies[name]!))) ?? since) < since &&
      !wasMisled(name);
    const hidden = removed.find(isHiddenSince);
    // One who makes a copy in its place moves it.
    const isMoved = Object.keys(after.copies).some((name) => before.copies[name] === undefined);
    if (hidden !== undefined && !isMoved && judges.has(role))
      report(
        new Violation(
          '2 good copies',
          `${role} takes the copy of "${before.key}" on ${hidden} for lost, which a delete marker hides`,
          before.key,
        ),
      );
    const had = Object.keys(before.copies).filter(isGood);
    const stays = Object.keys(after.copies).filter(remains);
    const keeps = stays.filter(isReachable);
    const factor = sight.lowestFactor(after.key);
    // More is asked of the cleaner: that its factor remains, whatever there was before.
    const wanted = isCleaner ? factor : Math.min(had.length, factor);
    // What a person gives up with its backend is out of reach, whatever it is.
    const isLastGood =
      stays.length === 0 &&
      Object.keys(before.copies).some((name) => isAsRecorded(before, name) && !sight.places.wasForgotten(name));
    if (keeps.length >= wanted && !isLastGood) return;
    const message =
      `${role} takes the copies of "${after.key}" on ${removed.join(', ')} out of the record: ` +
      `${keeps.length} good and reachable ones remain of ${had.length}`;
    report(new Violation('2 good copies', message, after.key));
  }

  /** Bytes of an object that has no record, of a generation newer than it, or of one whose own copies do not stand. */
  function isForPeople(backend: string, storageKey: string): boolean {
    const entry = sight.objects.get(keyWithin(storageKey) ?? storageKey);
    if (entry === undefined) return true;
    const generation = backends.get(backend)!.contents().get(storageKey)!.metadata.holdfast?.split(' ')[1];
    if (generation === undefined || generation > entry.generation) return true;
    return entry.kind === 'object' && Object.keys(entry.copies).some((name) => !isAsRecorded(entry, name));
  }

  return {
    written(backend, storageKey, by, isLate) {
      const place = placeOf(backend, storageKey);
      writers.set(place, { by, isLate, step: world.step });
      // A request that was sent twice may land twice, with the same bytes: invariant 1 looks at those.
      if (!isLate && namedBy(sight, backend, storageKey) !== undefined)
        report(new Violation('written once', `${by.name} writes over the recorded "${storageKey}" on ${backend}`));
      if (plain.isExternal(place))
        report(
          new Violation('written once', `${by.name} writes over an external client's "${storageKey}" on ${backend}`),
        );
    },
    forged: (backend, storageKey) => void forged.add(placeOf(backend, storageKey)),
    hasForged: (key) => [...forged].some((place) => keyWithin(partsOf(place)[1]) === key),
    harmed(backend, storageKey, isUnseen) {
      harmedAt.set(placeOf(backend, storageKey), world.step);
      if (isUnseen) unseen.add(placeOf(backend, storageKey));
    },
    externalClientActed: (backend, key) => void changedAt.set(placeOf(backend, key), world.step),
    recordChanged(before, after) {
      if (after?.kind !== 'object') return;
      copiesAdded(before, after);
      if (before?.kind === 'object' && before.generation === after.generation) copiesRemoved(before, after);
    },
    check(key) {
      const entry = sight.objects.get(key);
      if (entry?.kind !== 'object') return;
      for (const [name, copyId] of Object.entries(entry.copies)) {
        const storage = storageKeyOf(key, copyId);
        const place = placeOf(name, storage);
        if (sight.queue.has(place) && !sight.revived.has(place))
          report(new Violation('named once', `${place} is recorded and still queued`, key));
        if (harmedAt.has(place) || isAsRecorded(entry, name)) continue;
        if (copyId === '' && plain.isChanged(entry, name)) continue;
        const state = bytesOf(entry, name) === undefined ? 'is not there' : 'is other than recorded';
        report(new Violation('1 recorded copies', `The recorded copy "${storage}" on ${name} ${state}`, key));
      }
    },
    goodCopies: (entry) => Object.keys(entry.copies).filter((name) => isAsRecorded(entry, name)),
    hiddenCopies,
    versionsLeft: () =>
      [...writers.keys()].filter((place) => {
        const [backend, storageKey] = partsOf(place);
        if (storageKey.startsWith('.holdfast/') || sight.places.wasForgotten(backend)) return false;
        const bucket = backends.get(backend)!;
        if (bucket.olderVersions(storageKey).length === 0) return false;
        // Reported with the version that a listing shows.
        if (bucket.contents().has(storageKey) && isForPeople(backend, storageKey)) return false;
        return !sight.queue.has(place) && namedBy(sight, backend, storageKey) === undefined;
      }),
    orphans() {
      const found: Orphan[] = [];
      for (const [backend, bucket] of backends) {
        for (const storageKey of bucket.contents().keys()) {
          const place = placeOf(backend, storageKey);
          if (storageKey.startsWith('.holdfast/') || plain.isExternal(place) || sight.queue.has(place)) continue;
          if (namedBy(sight, backend, storageKey) !== undefined) continue;
          const writer = writers.get(place);
          const isExplained =
            sight.places.wasForgotten(backend) ||
            forged.has(place) ||
            (writer !== undefined && (writer.isLate || writer.by.hadFault));
          const isInHand = writer?.by.state === 'running' || writer?.by.state === 'frozen';
          found.push({ backend, storageKey, isExplained, isInHand, isForPeople: isForPeople(backend, storageKey) });
        }
      }
      return found;
    },
  };
}
