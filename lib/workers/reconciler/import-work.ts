import { allEnded, forEachConcurrently } from '../../base/pool.ts';
import type { Listed, StoredObject } from '../../fleet/backend.ts';
import { parseStorageKey } from '../../store/keys.ts';
import type { Entry } from '../../store/model.ts';
import type { PassId } from '../../store/pass-rows.ts';
import { isUsable } from '../../tick/health.ts';
import { readMark } from '../../transfer/mark.ts';
import type { KeyResult, Stretch } from './compare-page.ts';
import { isPossibleKey } from './compare-page.ts';
import type { FileResult } from './file-found.ts';
import { type ImportDeps, importFile, isToldByListing } from './files.ts';
import type { ListedOn } from './joined-feed.ts';
import { type KeyTurn, nothingToDo, settled, settledByName, turnOf } from './key-turn.ts';
import type { PassWork } from './pass.ts';
import { sizeAndMd5 } from './read-file.ts';
import { isAsRecorded, settleChanged } from './recorded.ts';

/** A person's import: the files of one backend, or of several side by side, become objects. What is ours is left alone. */
export function importWork(deps: ImportDeps, id: PassId): PassWork {
  const { tick } = deps;
  const compare = (stretch: Stretch) => importStretch(deps, stretch);
  return {
    id,
    progress: { listed: 0 },
    compare,
    async compareKey(backend, storageKey) {
      const askedAt = tick.now();
      const listed: ListedOn[] = [];
      const unlisted: KeyResult[] = [];
      for (const name of backend.split('+')) {
        const stored = await askFor(tick, name, storageKey);
        if (stored === null) unlisted.push({ backend: name, storageKey, turn: settled('skipped', 'gone') });
        if (stored === null) continue;
        if ('sizeBytes' in stored) {
          const { sizeBytes, etag, lastModified = askedAt } = stored;
          listed.push({ backend: name, item: { storageKey, sizeBytes, etag, lastModified } });
        } else {
          // Of several, the others do not wait for one that cannot be asked now.
          const isWaitedFor = stored.outcome === 'stopped' && id.backends.length > 1;
          const turn: KeyTurn = isWaitedFor ? { outcome: 'unfinished', waitsFor: stored.stop } : stored;
          unlisted.push({ backend: name, storageKey, turn });
        }
      }
      return [...unlisted, ...(await compare({ after: undefined, upTo: undefined, listed, askedAt }))];
    },
  };
}

/** A file as its backend shows it now; null where it is gone. */
async function askFor(
  tick: ImportDeps['tick'],
  name: string,
  storageKey: string,
): Promise<StoredObject | KeyTurn | null> {
  if (!tick.standing(name).isReachable || !(await isUsable(tick, name)))
    return { outcome: 'stopped', stop: { outcome: 'unreachable', backend: name, reason: 'key-unreachable' } };
  return turnOf(tick, name, async () => (await tick.backend(name)).head(storageKey, tick.signal));
}

/** Imports what is listed of some keys; what is known already, ours or another fleet's is told apart first. */
export async function importStretch(deps: ImportDeps, { listed, askedAt }: Stretch): Promise<KeyResult[]> {
  const { tick } = deps;
  const byKey = Map.groupBy(listed, ({ item }) => item.storageKey);
  const entries = await tick.deps.store.objects([...byKey.keys()].filter(isPossibleKey));
  const owners = await ownersOf(deps, listed, entries);
  const results: KeyResult[] = [];
  const take = async ([key, all]: [string, readonly ListedOn[]]) => {
    const entry = entries.get(key) ?? null;
    const note = (backend: string, turn: KeyTurn) => results.push({ backend, storageKey: key, turn });
    const { files, again } = oncePerBackend(all);
    for (const { backend, turn } of again) note(backend, turn);
    if (!isPossibleKey(key)) return void files.map(({ backend }) => note(backend, settledByName('skipped', 'odd-key')));
    const rest: ListedOn[] = [];
    for (const file of files) {
      const turn = await turnOf(tick, file.backend, () => turnOfKnown(deps, file, entry, owners));
      if (turn === null) rest.push(file);
      else note(file.backend, turn);
    }
    if (rest.length === 0) return;
    const name = rest.map(({ backend }) => backend).join('+');
    const turns = await turnOf(tick, rest[0]!.backend, () => importFile(deps, { key, files: rest, entry, askedAt }));
    if ('outcome' in turns) return void note(name, turns);
    // What is not settled is tried again for all of them together: they may be one object.
    const open = turns.find(({ turn }) => turn.outcome !== 'settled');
    if (open !== undefined && turns.every(({ turn }) => turn.outcome !== 'settled')) return void note(name, open.turn);
    for (const { backend, turn } of turns) note(backend, turn);
  };
  const isAsking = ([key, files]: [string, readonly ListedOn[]]) =>
    files.some(({ backend }) => !isToldByListing(tick, backend)) || asksBackends(key, files, entries.get(key));
  const all = [...byKey];
  await allEnded(all.filter((one) => !isAsking(one)).map(take));
  await forEachConcurrently(all.filter(isAsking), tick.tuning.concurrency, take);
  return results;
}

/**
 * A listing in no order may name a key again. Where it says two things of it, one of them is old: its backend is asked for that
 * key by itself.
 */
function oncePerBackend(all: readonly ListedOn[]): { files: ListedOn[]; again: FileResult[] } {
  const files: ListedOn[] = [];
  const again: FileResult[] = [];
  for (const [backend, listed] of Map.groupBy(all, (file) => file.backend)) {
    const [first, ...others] = listed as [ListedOn, ...ListedOn[]];
    const isOne = others.every(({ item }) => item.etag === first.item.etag && item.sizeBytes === first.item.sizeBytes);
    if (isOne) files.push(first);
    else
      again.push({ backend, turn: { outcome: 'refused', what: 'listed-differently', message: first.item.storageKey } });
    for (const _ of others) again.push({ backend, turn: settledQuietly('listed-twice') });
  }
  return { files, again };
}

/** Whether anything must be asked of a backend to tell what a key is; where not, all are recorded together. */
function asksBackends(key: string, files: readonly ListedOn[], entry: Entry | undefined): boolean {
  if (parseStorageKey(key) !== null) return true;
  if (entry?.kind !== 'object') {
    const [first, ...others] = files.map(({ item }) => item);
    return others.some((item) => isTold(first!, item) === 'by-reading');
  }
  return files.some(({ backend, item }) => {
    if (entry.copies[backend] === '') return !isAsRecorded(entry, item, backend);
    const recorded = Object.values(entry.plainEtags ?? {}).map((etag) => ({ sizeBytes: entry.sizeBytes, etag }));
    return recorded.every((one) => isTold(one, item) === 'by-reading');
  });
}

/** How two files of one key are told apart, or to be equal. */
function isTold(a: Pick<Listed, 'sizeBytes' | 'etag'>, b: Pick<Listed, 'sizeBytes' | 'etag'>) {
  const isListed = a.sizeBytes !== b.sizeBytes || (sizeAndMd5(a) !== null && sizeAndMd5(a) === sizeAndMd5(b));
  return isListed ? 'by-listing' : 'by-reading';
}

/** The objects that names like those of our own copies speak of. */
async function ownersOf(
  { tick }: ImportDeps,
  listed: readonly ListedOn[],
  entries: ReadonlyMap<string, Entry>,
): Promise<ReadonlyMap<string, Entry>> {
  const keys = listed.flatMap(({ item }) => parseStorageKey(item.storageKey)?.key ?? []);
  const unknown = [...new Set(keys)].filter((key) => !entries.has(key) && isPossibleKey(key));
  return new Map([...entries, ...(await tick.deps.store.objects(unknown))]);
}

/** The turn of what is an object already, or bytes of ours or of another fleet; null for a file that is neither. */
async function turnOfKnown(
  { tick }: ImportDeps,
  { backend, item }: ListedOn,
  entry: Entry | null,
  owners: ReadonlyMap<string, Entry>,
): Promise<KeyTurn | null> {
  if (entry?.kind === 'object' && entry.copies[backend] === '') {
    const turn = isAsRecorded(entry, item, backend) ? nothingToDo : await settleChanged(tick, entry, backend);
    return turn === nothingToDo ? settledQuietly('known') : turn;
  }
  const copy = parseStorageKey(item.storageKey);
  if (copy === null) return null;
  const owner = owners.get(copy.key);
  if (owner?.kind === 'object' && owner.copies[backend] === copy.copyId) return settledQuietly('ours');
  const stored = await (await tick.backend(backend)).head(item.storageKey, tick.signal);
  if (stored === null) return settled('skipped', 'gone');
  const { outcome } = readMark(stored.metadata, tick.fleetId, backend, item.storageKey);
  if (outcome === 'none') return null;
  return outcome === 'ours' ? settledQuietly('ours') : settled('skipped', 'foreign-mark');
}

/** Accounted for, though nothing was to do. */
function settledQuietly(what: string): KeyTurn {
  return { outcome: 'settled', what };
}
