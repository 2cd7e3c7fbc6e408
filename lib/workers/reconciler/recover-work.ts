import { forEachConcurrently } from '../../base/pool.ts';
import { parseStorageKey } from '../../store/keys.ts';
import type { Entry } from '../../store/model.ts';
import type { PassId } from '../../store/pass-rows.ts';
import { undecidedSha256 } from '../../store/recovery.ts';
import type { Tick } from '../../tick/tick.ts';
import { readMark } from '../../transfer/mark.ts';
import { isPossibleKey, type KeyResult } from './compare-page.ts';
import type { KeyTurnTick } from './key-turn.ts';
import { type KeyTurn, nothingToDo, settled, turnOf } from './key-turn.ts';
import type { PassWork } from './pass.ts';
import type { RecoverObjectTick } from './recover-object.ts';
import { type RecoverRules, recoverObject } from './recover-object.ts';

/** What this file asks of a tick. */
export type RecoverWorkTick = Pick<Tick, 'deps' | 'fleetId' | 'tuning' | 'signal' | 'reconcile' | 'backend'> &
  KeyTurnTick &
  RecoverObjectTick;

/**
 * Rebuilds records from marks, after the tables were lost or restored. One backend's keys are gone through; an object that is
 * met there is decided by what all of them hold. What its record names already is asked for nothing.
 */
export function recoverWork(tick: RecoverWorkTick, id: PassId): PassWork {
  const backend = id.backends[0]!;
  const rules = { acceptNewer: new Set(tick.reconcile?.acceptNewer ?? []) };
  const recoverAll = async (keys: readonly string[]) => {
    const entries = await entriesOf(tick, keys);
    const results: KeyResult[] = [];
    await forEachConcurrently(keys, tick.tuning.concurrency, async (storageKey) => {
      const turn = await turnOf(tick, backend, () => recoverListed(tick, backend, storageKey, entries, rules));
      results.push({ backend, storageKey, turn });
    });
    return results;
  };
  return {
    id,
    progress: { listed: 0 },
    compare: ({ listed }) => recoverAll(listed.map(({ item }) => item.storageKey)),
    compareKey: (_backend, storageKey) => recoverAll([storageKey]),
  };
}

async function entriesOf(tick: RecoverWorkTick, keys: readonly string[]): Promise<ReadonlyMap<string, Entry>> {
  const objects = keys.filter(isPossibleKey).flatMap((key) => parseStorageKey(key)?.key ?? []);
  return tick.deps.store.objects([...new Set(objects)]);
}

/** Objects that were decided in this tick, by all the passes of it. */
const decided = new WeakMap<object, Map<string, Promise<KeyTurn>>>();

async function recoverListed(
  tick: RecoverWorkTick,
  backend: string,
  storage: string,
  entries: ReadonlyMap<string, Entry>,
  rules: RecoverRules,
): Promise<KeyTurn> {
  const name = isPossibleKey(storage) ? parseStorageKey(storage) : null;
  if (name === null) return { outcome: 'settled', what: 'not-ours' };
  const entry = entries.get(name.key);
  if (isSettled(entry) && entry.copies[backend] === name.copyId) return { outcome: 'settled', what: 'recorded' };
  const stored = await (await tick.backend(backend)).head(storage, tick.signal);
  if (stored === null) return settled('skipped', 'gone-meanwhile');
  const mark = readMark(stored.metadata, tick.fleetId, backend, storage);
  if (mark.outcome === 'none') return { outcome: 'settled', what: 'not-ours' };
  if (mark.outcome === 'foreign') return settled('skipped', 'foreign-mark');
  return decideOnce(tick, name.key, rules);
}

function isSettled(entry: Entry | undefined): entry is Entry & { kind: 'object' } {
  return entry?.kind === 'object' && entry.sha256 !== undecidedSha256 && entry.condition !== 'damaged';
}

/** The first of its bytes that is met decides for all: what was not taken then is not better now. */
async function decideOnce(tick: RecoverWorkTick, key: string, rules: RecoverRules): Promise<KeyTurn> {
  const known = decided.get(tick) ?? new Map<string, Promise<KeyTurn>>();
  decided.set(tick, known);
  const before = known.get(key);
  if (before !== undefined) {
    const turn = await before;
    return turn.outcome === 'settled' ? nothingToDo : turn;
  }
  const deciding = recoverObject(tick, key, rules);
  known.set(key, deciding);
  // What was refused, or takes longer, is decided anew.
  const forget = () => void known.delete(key);
  deciding.then((turn) => turn.outcome !== 'settled' && forget(), forget);
  return deciding;
}
