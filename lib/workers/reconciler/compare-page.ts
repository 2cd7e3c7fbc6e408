import type { Admission } from '../../base/admission.ts';
import { compareUtf8 } from '../../base/bytes.ts';
import { allEnded, forEachConcurrently } from '../../base/pool.ts';
import { parseStorageKey, storageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';
import type { ListedOn } from './joined-feed.ts';
import type { KeyTurnTick } from './key-turn.ts';
import { type KeyTurn, nothingToDo, settled, settledByName, turnOf } from './key-turn.ts';
import type { RecordedTick } from './recorded.ts';
import { isAsRecorded, isYoung, settleChanged, settleForgotten, settleMissing } from './recorded.ts';
import type { UnnamedTick } from './unnamed.ts';
import { enqueueOrphans, judgeUnnamed, type Orphan, type OrphanRules, type UnnamedTurn } from './unnamed.ts';

/** What this file asks of a tick. */
export type ComparePageTick = Pick<Tick, 'deps' | 'params' | 'tuning' | 'signal' | 'now' | 'backend'> &
  KeyTurnTick &
  RecordedTick &
  UnnamedTick;

/** A key, its backend, and what its turn led to. */
export interface KeyResult {
  readonly backend: string;
  readonly storageKey: string;
  readonly turn: KeyTurn;
}

/** A stretch of what is listed, behind `after` and up to `upTo`; absent: from the beginning, or to the end. */
export interface Stretch {
  readonly after: string | undefined;
  readonly upTo: string | undefined;
  readonly listed: readonly ListedOn[];
  readonly askedAt: number;
}

/** How a sweep deals with what it finds. */
export interface SweepRules extends OrphanRules {
  readonly backend: string;
  /** Lets stretches in to be compared with their records: of one that waits, only its keys are in memory. */
  readonly reading: Pick<Admission, 'enter'>;
  /** The turn of a file that Holdfast did not write; absent where files are left alone. */
  importFile?(listed: ListedOn, entry: Entry | null, askedAt: number): KeyTurn | Promise<KeyTurn>;
  /** Keys listed so far in the pass. */
  listedSoFar(): number;
}

/** A key's turn before it is taken. Those that ask no backend are all taken at once, so that they are committed together. */
interface PlannedTurn {
  readonly storageKey: string;
  readonly asksNothing?: boolean;
  take(): Promise<UnnamedTurn>;
}

/** Longest key that a table, or a bucket, can have. */
const longestKeyBytes = 1024;

/**
 * Compares a stretch of what a backend lists with what is recorded, in both directions. `recordedKeys` are the keys of the
 * objects that may have a copy there: what is recorded and not listed is found by them.
 */
export async function compareStretch(
  tick: ComparePageTick,
  rules: SweepRules,
  stretch: Stretch,
  recordedKeys: readonly string[],
): Promise<KeyResult[]> {
  const leave = await rules.reading.enter(1);
  const turns = await planTurns(tick, rules, stretch, recordedKeys).finally(leave);
  return takeTurns(tick, rules, turns);
}

async function planTurns(
  tick: ComparePageTick,
  rules: SweepRules,
  stretch: Stretch,
  recordedKeys: readonly string[],
): Promise<PlannedTurn[]> {
  const { backend } = rules;
  const entries = await entriesFor(tick, backend, stretch, recordedKeys);
  const turns: PlannedTurn[] = [];
  // In no order a key may be listed again: as it was listed last.
  const once = new Map(stretch.listed.map((listed) => [listed.item.storageKey, listed]));
  for (const listed of once.values()) {
    const turn = turnFor(tick, rules, stretch, listed, entries);
    if (turn !== null) turns.push(turn);
  }
  for (const entry of entries.values()) {
    const turn = unlistedTurnFor(tick, backend, stretch, once, entry);
    if (turn !== null) turns.push(turn);
  }
  return turns;
}

/**
 * Entries of the keys that are recorded, of those that listed names speak of, and of the listed keys themselves where they are
 * the names of objects.
 */
async function entriesFor(
  tick: ComparePageTick,
  backend: string,
  { listed }: Stretch,
  recordedKeys: readonly string[],
): Promise<Map<string, Entry>> {
  const { store } = tick.deps;
  const names = listed.map(({ item }) => item.storageKey).filter(isPossibleKey);
  const objects = names.map((name) => parseStorageKey(name)?.key ?? name);
  const entries = await store.objects([...new Set([...recordedKeys, ...objects])]);
  // What looks like a copy and is none may be an object of that very name.
  const others = names.filter((name) => {
    const copy = parseStorageKey(name);
    return copy !== null && !entries.has(name) && copiesOf(entries.get(copy.key))[backend] !== copy.copyId;
  });
  for (const [key, entry] of await store.objects(others)) entries.set(key, entry);
  return entries;
}

/** Whether a key can be one of an object: else it is reported and passed over. */
export function isPossibleKey(key: string): boolean {
  return key !== '' && key.isWellFormed() && Buffer.byteLength(key) <= longestKeyBytes;
}

function copiesOf(entry: Entry | undefined): Readonly<Record<string, string>> {
  return entry?.kind === 'object' ? entry.copies : {};
}

/** Null where a key is as it is recorded. */
function turnFor(
  tick: ComparePageTick,
  rules: SweepRules,
  stretch: Stretch,
  listed: ListedOn,
  entries: ReadonlyMap<string, Entry>,
): PlannedTurn | null {
  const { item, backend } = listed;
  const storage = item.storageKey;
  if (!isPossibleKey(storage))
    return { storageKey: storage, asksNothing: true, take: async () => settledByName('skipped', 'odd-key') };
  const copy = parseStorageKey(storage);
  const owner = copy === null ? undefined : entries.get(copy.key);
  const atKey = entries.get(storage);
  const isOwned = copy !== null && copiesOf(owner)[backend] === copy.copyId;
  const recorded = (isOwned ? owner : copiesOf(atKey)[backend] === '' ? atKey : undefined) as ObjectRecord | undefined;
  if (recorded !== undefined)
    return isAsRecorded(recorded, item, backend)
      ? null
      : { storageKey: storage, take: () => settleChanged(tick, recorded, backend) };
  const importIt = async () => fileTurn(rules, stretch, listed, atKey ?? null);
  const isToldByListing = tick.view.capabilities(backend).listsHeadEtags !== false;
  if (copy === null) return { storageKey: storage, asksNothing: isToldByListing, take: importIt };
  // Younger bytes may be about to be recorded.
  if (stretch.askedAt - item.lastModified < tick.params.reconcilerMinAgeMs) return null;
  return {
    storageKey: storage,
    async take() {
      const turn = await judgeUnnamed(tick, backend, item, rules);
      return turn.outcome === 'not-ours' ? importIt() : turn;
    },
  };
}

async function fileTurn(rules: SweepRules, stretch: Stretch, listed: ListedOn, atKey: Entry | null): Promise<KeyTurn> {
  if (rules.importFile === undefined) return settled('skipped', 'unmarked');
  return rules.importFile(listed, atKey, stretch.askedAt);
}

/** What is recorded, or remembered, in the stretch and was not listed; null for any other entry. */
function unlistedTurnFor(
  tick: ComparePageTick,
  backend: string,
  stretch: Stretch,
  seen: Pick<ReadonlySet<string>, 'has'>,
  entry: Entry,
): PlannedTurn | null {
  const copyId = copiesOf(entry)[backend];
  const storage = copyId === undefined ? entry.key : storageKey(entry.key, copyId);
  if (seen.has(storage) || !isWithin(stretch, storage)) return null;
  if (copyId !== undefined) {
    const object = entry as ObjectRecord;
    if (isYoung(tick, object, backend, stretch.askedAt)) return null;
    return { storageKey: storage, take: () => settleMissing(tick, object, backend) };
  }
  if (entry.plainEtags?.[backend] === undefined) return null;
  return { storageKey: storage, take: () => settleForgotten(tick, entry, backend) };
}

function isWithin({ after, upTo }: Stretch, key: string): boolean {
  return (after === undefined || compareUtf8(key, after) > 0) && (upTo === undefined || compareUtf8(key, upTo) <= 0);
}

/** Takes turns side by side, and enqueues what may go in one group. Behind one that was stopped none is begun. */
async function takeTurns(
  tick: ComparePageTick,
  rules: SweepRules,
  turns: readonly PlannedTurn[],
): Promise<KeyResult[]> {
  const { backend } = rules;
  const results: KeyResult[] = [];
  const orphans: Orphan[] = [];
  let isStopped = false;
  const takeOne = async ({ storageKey: storage, take }: PlannedTurn) => {
    if (isStopped) return;
    const turn = await turnOf(tick, backend, take);
    if (turn.outcome === 'orphan') return void orphans.push(turn.orphan);
    if (turn.outcome === 'stopped') isStopped = true;
    results.push({ backend, storageKey: storage, turn: turn.outcome === 'not-ours' ? nothingToDo : turn });
  };
  await allEnded(turns.filter(({ asksNothing }) => asksNothing).map(takeOne));
  await forEachConcurrently(
    turns.filter(({ asksNothing }) => !asksNothing),
    tick.tuning.concurrency,
    takeOne,
  );
  for (const { orphan, turn } of await enqueueOrphans(tick, orphans, rules))
    results.push({ backend, storageKey: storageKey(orphan.key, orphan.copyId), turn });
  return results;
}

/** The turn of one key by itself, as its backend shows it now. */
export async function compareKey(tick: ComparePageTick, rules: SweepRules, storage: string): Promise<KeyResult[]> {
  const { backend } = rules;
  const askedAt = tick.now();
  const stored = await turnOf(tick, backend, async () => (await tick.backend(backend)).head(storage, tick.signal));
  if (stored !== null && 'outcome' in stored) return [{ backend, storageKey: storage, turn: stored }];
  const copy = parseStorageKey(storage);
  const item =
    stored === null
      ? []
      : [
          {
            storageKey: storage,
            sizeBytes: stored.sizeBytes,
            etag: stored.etag,
            lastModified: stored.lastModified ?? 0,
          },
        ];
  const listed = item.map((one) => ({ backend, item: one }));
  // Nothing stands before this key but what ends like it.
  const stretch = { after: before(storage), upTo: storage, listed, askedAt };
  return compareStretch(tick, rules, stretch, copy === null ? [storage] : [storage, copy.key]);
}

/** A text just before a key: no storage key stands between the two. */
function before(key: string): string | undefined {
  const last = key.at(-1);
  return last === undefined || key.length === 1 ? undefined : key.slice(0, -1);
}

/** Asks for recorded copies by name, where no listing tells what is there. */
export async function compareRecorded(
  tick: ComparePageTick,
  rules: SweepRules,
  objects: readonly ObjectRecord[],
): Promise<KeyResult[]> {
  const { backend } = rules;
  const stretch: Stretch = { after: undefined, upTo: undefined, listed: [], askedAt: tick.now() };
  const turns = objects.flatMap((object) => unlistedTurnFor(tick, backend, stretch, new Set(), object) ?? []);
  return takeTurns(tick, rules, turns);
}
