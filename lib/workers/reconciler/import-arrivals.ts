import { forEachConcurrently } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { internalPrefix } from '../../fleet/owner.ts';
import type { PutEvent } from '../../fleet/s3/event-documents.ts';
import { readingRequest } from '../../fleet/usage-limits.ts';
import { createCommitter } from '../../store/committer.ts';
import { parseStorageKey } from '../../store/keys.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { readMark } from '../../transfer/mark.ts';
import { isPossibleKey, type KeyResult } from './compare-page.ts';
import { importStretch } from './import-work.ts';
import type { ListedOn } from './joined-feed.ts';
import { type KeyTurn, settled, turnOf } from './key-turn.ts';

/** How it ended with one file: nothing is left to do for its event, or it is to be delivered again. */
export type ArrivalEnd = { readonly outcome: 'settled' } | { readonly outcome: 'again'; readonly reason: string };

/** A key of a backend that listens to the events of its bucket. */
interface Arrived {
  readonly backend: string;
  readonly storageKey: string;
}

const settledEnd: ArrivalEnd = { outcome: 'settled' };

/** Asks for each key once, and says of every event how it ended. */
export async function importArrivals(
  tick: Tick,
  puts: readonly PutEvent[],
  ended: (put: PutEvent, end: ArrivalEnd) => void,
): Promise<void> {
  const wanted = new Map<string, Arrived>();
  const idOf = ({ backend, storageKey }: Arrived) => `${backend}/${storageKey}`;
  const places = new Map(puts.map((put) => [put, placesOf(tick, put)]));
  for (const arrived of [...places.values()].flat()) wanted.set(idOf(arrived), arrived);
  const ends = new Map<string, ArrivalEnd>();
  const answers = await askForAll(tick, [...wanted.values()]);
  for (const { backend, storageKey, turn } of await importListed(tick, answers)) {
    const end = noteTurn(tick, turn);
    for (const name of backend.split('+')) ends.set(idOf({ backend: name, storageKey }), end);
  }
  for (const [put, arrived] of places) {
    const all = arrived.map((one) => ends.get(idOf(one)) ?? settledEnd);
    ended(put, all.find(({ outcome }) => outcome === 'again') ?? settledEnd);
  }
}

/** The backends that listen, and have this bucket and prefix. Keys like those of our own copies are left to the passes. */
function placesOf({ config }: Tick, { bucket, key }: PutEvent): Arrived[] {
  return config.backends
    .filter((backend) => backend.events && backend.bucket === bucket && key.startsWith(backend.prefix))
    .map(({ name, prefix }) => ({ backend: name, storageKey: key.slice(prefix.length) }))
    .filter(({ storageKey }) => isPossibleKey(storageKey) && parseStorageKey(storageKey) === null)
    .filter(({ storageKey }) => !storageKey.startsWith(internalPrefix));
}

interface Answers {
  readonly askedAt: number;
  readonly listed: readonly ListedOn[];
  /** Of files about which nothing more is to be found out. */
  readonly results: readonly KeyResult[];
}

async function askForAll(tick: Tick, arrived: readonly Arrived[]): Promise<Answers> {
  const askedAt = tick.now();
  const listed: ListedOn[] = [];
  const results: KeyResult[] = [];
  await forEachConcurrently(arrived, tick.tuning.concurrency, async ({ backend, storageKey }) => {
    const answer = await turnOf(tick, backend, () => askFor(tick, backend, storageKey));
    if ('item' in answer) listed.push(answer);
    else results.push({ backend, storageKey, turn: answer });
  });
  return { askedAt, listed, results };
}

async function askFor(tick: Tick, backend: string, storageKey: string): Promise<ListedOn | KeyTurn> {
  const putOff = (reason: string): KeyTurn => ({ outcome: 'stopped', stop: { outcome: 'put-off', backend, reason } });
  if (tick.outOfTime()) return putOff('out-of-time');
  if (!tick.standing(backend).isReachable || !(await isUsable(tick, backend))) return putOff('parked');
  const refusal = (await tick.budget()).refuses(backend, readingRequest);
  if (refusal !== null) return putOff(refusal);
  const stored = await (await tick.backend(backend)).head(storageKey, tick.signal);
  if (stored === null) return settled('skipped', 'gone');
  if (readMark(stored.metadata, tick.fleetId, backend, storageKey).outcome !== 'none')
    return settled('skipped', 'foreign-mark');
  const { sizeBytes, etag, lastModified = tick.now() } = stored;
  return { backend, item: { storageKey, sizeBytes, etag, lastModified } };
}

async function importListed(tick: Tick, { askedAt, listed, results }: Answers): Promise<KeyResult[]> {
  const deps = { tick, committer: createCommitter(() => tick.commitDeps()) };
  const stretch = { after: undefined, upTo: undefined, listed, askedAt };
  return [...results, ...(await importStretch(deps, stretch))];
}

function noteTurn(tick: Tick, turn: KeyTurn): ArrivalEnd {
  if (turn.outcome === 'settled') {
    count(tick.tally, turn.verdict ?? 'skipped', turn.what);
    return settledEnd;
  }
  const reason = reasonOf(turn);
  count(tick.tally, turn.outcome === 'refused' ? 'failed' : 'deferred', reason);
  return { outcome: 'again', reason };
}

function reasonOf(turn: Exclude<KeyTurn, { readonly outcome: 'settled' }>): string {
  if (turn.outcome === 'refused') return turn.what;
  if (turn.outcome === 'stopped') return turn.stop.outcome === 'disordered' ? 'disordered' : turn.stop.reason;
  return turn.outcome === 'unfinished' ? 'reading' : turn.outcome;
}
