import { forEachConcurrently } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { scheduleMs } from '../../config/parameters.ts';
import type { RelabelTick } from '../../steps/relabel.ts';
import { relabel } from '../../steps/relabel.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { FleetAsRead, Round, Tick, TickAccount, TickRequest, TickTime, Worker } from '../../tick/tick.ts';
import { firstPlace, type Place, readStretch } from '../../tick/walk.ts';
import type { RunChecksTick } from './run-checks.ts';
import { runChecks } from './run-checks.ts';
import {
  begunCycle,
  freshState,
  groupsOf,
  hasRoom,
  movedCycle,
  newCycle,
  oldestPlaintext,
  oldestVerified,
  owedWaitMs,
  plaintextKnownSince,
  progressOf,
  type ScrubState,
  undeciphered,
  verifiedSince,
} from './scrub-cycles.ts';
import type { ScrubObjectTick } from './scrub-object.ts';
import { scrubObject } from './scrub-object.ts';
import type { ScrubOwedTick } from './scrub-owed.ts';
import type { ScrubWalkTick } from './scrub-walk.ts';
import { type Walked, walkStretch } from './scrub-walk.ts';
import type { TickKeyringTick } from './tick-keyring.ts';
import { keyringOf } from './tick-keyring.ts';
import { type CopyVerdict, type Coverage, lacksPlaintext, meaningOf } from './verdicts.ts';

/** What this file asks of a tick. */
export type ScrubberTick = Pick<Tick, 'deps' | 'params' | 'tuning' | 'cursor'> &
  FleetAsRead &
  TickAccount &
  TickRequest &
  TickTime &
  RelabelTick &
  RunChecksTick &
  ScrubObjectTick &
  ScrubOwedTick &
  ScrubWalkTick &
  TickKeyringTick;

/**
 * The scrubber re-reads every recorded copy once per scrub cycle, in key order within each shard.
 *
 * A copy whose bytes differ from the record, or are missing, is removed only through quarantine: while another copy verifies.
 * Each backend has a cycle of its own: what holds one back, a usage limit or an outage, keeps its place there, and no other's.
 * A copy whose reading takes many ticks, or that cannot be read, is passed and come back to. Nothing is reported as read that was
 * not. A verified copy costs no write. When policies have changed, every object is first put under the label of the policy that
 * applies to its key now.
 *
 * Rules: [scrubber-cycle], [scrubber-verdicts], [scrubber-attests], [scrubber-plaintext], [scrubber-relabels]
 */
export const scrubber: Worker = { name: 'scrubber', hasWork, begin };

const dayMs = 24 * 3_600_000;

async function hasWork(tick: ScrubberTick): Promise<boolean> {
  return tick.view.placements.length > 0;
}

/** Backends whose walk stands at the same place, and what one tick may still do there: copies to read, objects to look at. */
interface Group {
  readonly names: readonly string[];
  readonly copies: number;
  readonly objects: number;
}

async function begin(tick: ScrubberTick): Promise<Round> {
  // Asked for at once: what is wrong with it is said even by ticks that meet nothing encrypted.
  await keyringOf(tick);
  await runChecks(tick, (object) => scrubAndCount(tick, object, Object.keys(object.copies)));
  let state = withCycles(tick, readState(tick));
  if (state.isOwedFirst) state = await comeBack(tick, state);
  let groups = shareOf(tick, state);
  return async () => {
    if (state.labels !== policiesOf(tick)) state = await relabelStretch(tick, state);
    const [group, ...others] = isWalkingLong(tick, state) ? [] : groups;
    if (group !== undefined) {
      const walked = await walkOn(tick, state, group);
      state = walked.state;
      // Those that were held back, or came to their end, have had their turn; so has who did its share.
      groups = [...others, walked.left].filter(isToGoOn);
    }
    const isWalking = groups.length > 0 && !isWalkingLong(tick, state);
    const isRelabelling = state.relabelAt !== undefined && !tick.dryRun && !tick.outOfTime();
    const isDone = !isWalking && !isRelabelling;
    if (isDone) state = await comeBack(tick, state);
    // A dry run reads nothing, so it comes by nothing.
    if (!tick.dryRun) tick.cursor = JSON.stringify({ ...state, isOwedFirst: !isDone });
    return isDone ? done(tick, state) : 'more';
  };
}

/** An unreadable cursor begins the cycles anew: reading a copy once more is the safe mistake. */
function readState(tick: ScrubberTick): ScrubState {
  if (tick.cursor === undefined) return freshState;
  try {
    return { ...freshState, ...(JSON.parse(tick.cursor) as Partial<ScrubState>) };
  } catch {
    tick.deps.log.warn('The scrubber’s cursor could not be read: new scrub cycles begin', { cursor: tick.cursor });
    return freshState;
  }
}

/** With a cycle for every backend of the file that holds copies, begun where it is due. */
function withCycles(tick: ScrubberTick, state: ScrubState): ScrubState {
  const now = tick.now();
  const holding = new Set(tick.view.placements.flatMap(({ copies }) => copies.map(({ backend }) => backend)));
  const names = tick.config.backends.map(({ name }) => name).filter((name) => holding.has(name));
  const cycleMs = tick.params.scrubberCycleDays * dayMs;
  const cycles = names.map((name) => {
    const cycle = state.cycles[name] ?? newCycle(now);
    return [name, begunCycle(cycle, firstPlace(tick.shards), now, cycleMs) ?? cycle] as const;
  });
  return {
    ...state,
    cycles: Object.fromEntries(cycles),
    owed: state.owed.filter(({ backend }) => names.includes(backend)),
  };
}

/** Of each backend its share of a cycle, together at least a batch. */
function shareOf(tick: ScrubberTick, state: ScrubState): Group[] {
  const ticks = (tick.params.scrubberCycleDays * dayMs) / (scheduleMs(tick.tuning.schedule) ?? 3_600_000);
  const { batchSize } = tick.tuning;
  const shareOfObjects = (isMeant: (backends: readonly string[]) => boolean) => {
    const meant = tick.view.placements.filter(({ copies }) => isMeant(copies.map(({ backend }) => backend)));
    return meant.reduce((sum, { count: { objects } }) => sum + objects, 0) / tick.of / ticks;
  };
  // Where few objects have copies there, many are looked at for each.
  const objects = Math.max(10 * batchSize, Math.ceil(shareOfObjects(() => true)));
  return groupsOf(state.cycles).map((names) => {
    const copies = names.reduce((sum, name) => sum + shareOfObjects((backends) => backends.includes(name)), 0);
    return { names, copies: Math.max(batchSize, Math.ceil(copies)), objects };
  });
}

function isToGoOn({ names, copies, objects }: Group): boolean {
  return names.length > 0 && copies > 0 && objects > 0;
}

/** Where copies are owed the walk leaves half of the tick to them. */
function isWalkingLong(tick: ScrubberTick, { owed }: ScrubState): boolean {
  const { startedAt, deadline } = tick;
  return owed.length > 0 && tick.now() >= startedAt + (deadline.admitUntil - startedAt) / 2;
}

/** Walks a batch on with the backends of one group, over as many shards as that takes. Returns what is left to those that go on. */
async function walkOn(
  tick: ScrubberTick,
  state: ScrubState,
  group: Group,
): Promise<{ readonly state: ScrubState; readonly left: Group }> {
  const limit = Math.min(group.copies, tick.tuning.batchSize);
  const scrub = (object: ObjectRecord, backends: readonly string[]) => scrubAndCount(tick, object, backends);
  let { names } = group;
  let copies = 0;
  let objects = 0;
  let at = state.cycles[names[0]!]!.at;
  while (at !== undefined && names.length > 0 && copies < limit && objects < group.objects && !tick.outOfTime()) {
    const { owed } = state;
    const coverage = (verdict: CopyVerdict) => coverageOf(owed, verdict);
    const walked: Walked = await walkStretch(tick, at, names, limit - copies, scrub, coverage);
    state = settledWalk(tick, state, names, walked);
    names = names.filter((name) => !walked.held.has(name));
    copies += walked.copies;
    objects += walked.objects;
    at = walked.next;
  }
  const goingOn = at === undefined ? [] : names;
  return { state, left: { names: goingOn, copies: group.copies - copies, objects: group.objects - objects } };
}

/** Where nothing more may be owed, a copy that is being read holds its own backend; one that cannot be read holds nothing. */
function coverageOf(owed: ScrubState['owed'], { verdict }: CopyVerdict): Coverage {
  const { coverage } = meaningOf(verdict);
  return verdict === 'reading' && !hasRoom(owed, true) ? 'held' : coverage;
}

function settledWalk(tick: ScrubberTick, state: ScrubState, names: readonly string[], walked: Walked): ScrubState {
  const now = tick.now();
  const owed = [...state.owed];
  const missed = new Set<string>();
  const missedPlaintext = new Set<string>();
  for (const { object, verdict } of walked.passed) {
    const { backend, copyId } = verdict;
    const isReading = verdict.verdict === 'reading';
    if (lacksPlaintext(verdict)) {
      missedPlaintext.add(backend);
      continue;
    }
    if (owed.some((one) => one.key === object.key && one.backend === backend)) continue;
    if (!isReading && !hasRoom(owed, false)) {
      missed.add(backend);
      continue;
    }
    const cycle = state.cycles[backend]!;
    const { shard } = cycle.at!;
    const [since, plaintextSince] = [verifiedSince(cycle, shard), plaintextKnownSince(cycle, shard)];
    const attempts = isReading ? 0 : 1;
    const notBefore = isReading ? now : now + owedWaitMs(attempts);
    owed.push({ key: object.key, backend, copyId, since, plaintextSince, attempts, notBefore });
  }
  const moved = names.map((name) => {
    const place = walked.held.get(name);
    const cycle = state.cycles[name]!;
    // What holds it back holds it in the shard that it is in.
    const over = { copy: missed.has(name), plaintext: missedPlaintext.has(name) };
    return [name, movedCycle(cycle, place ?? walked.next, now, over)] as const;
  });
  return { ...state, owed, cycles: { ...state.cycles, ...Object.fromEntries(moved) } };
}

async function comeBack(tick: ScrubberTick, state: ScrubState): Promise<ScrubState> {
  if (tick.dryRun || state.owed.length === 0) return state;
  const scrub = (object: ObjectRecord, backends: readonly string[]) => scrubAndCount(tick, object, backends, true);
  const { scrubOwed } = await import('./scrub-owed.ts');
  const back = await scrubOwed(tick, state.owed, scrub);
  return back.undeciphered.reduce(undeciphered, { ...state, owed: back.owed });
}

/** Reports how far the cycles are and how old the oldest verification may be. */
function done(tick: ScrubberTick, state: ScrubState): 'done' {
  const now = tick.now();
  tick.figures.cycleProgress = progressOf(state, tick.shards);
  tick.figures.uncovered = state.owed.length;
  tick.figures.oldestUnverifiedSeconds = Math.round((now - oldestVerified(state, tick.shards, now)) / 1000);
  if (tick.config.encryption !== undefined)
    tick.figures.oldestPlaintextUncheckedSeconds = Math.round((now - oldestPlaintext(state, tick.shards, now)) / 1000);
  return 'done';
}

async function scrubAndCount(
  tick: ScrubberTick,
  object: ObjectRecord,
  backends: readonly string[],
  remembers = false,
): Promise<readonly CopyVerdict[]> {
  if (tick.dryRun) {
    for (const _ of backends) count(tick.tally, 'skipped', 'dry-run');
    return [];
  }
  const current = await relabel(tick, object);
  const verdicts = await scrubObject(tick, current ?? object, { backends, remembers });
  for (const { backend, verdict, detail } of verdicts) {
    const { counts } = meaningOf(verdict);
    count(tick.tally, counts, verdict);
    const fields = { key: object.key, backend, verdict, detail };
    if (counts === 'failed') tick.deps.log.warn('Copy did not verify', fields);
  }
  return verdicts;
}

/** What decides every label: names and prefixes, not factors. */
function policiesOf(tick: ScrubberTick): string {
  return JSON.stringify(Object.entries(tick.config.policies).map(([name, { prefix }]) => [name, prefix ?? '']));
}

const relabelBatch = 200;

/** Puts objects under the labels of the policies now in force, as many as a batch holds. */
async function relabelStretch(tick: ScrubberTick, state: ScrubState): Promise<ScrubState> {
  if (tick.dryRun) return state;
  const { relabelAt, ...rest } = state;
  let at: Place | undefined = relabelAt ?? firstPlace(tick.shards);
  for (let seen = 0; at !== undefined && seen < relabelBatch && !tick.outOfTime(); ) {
    const stretch = await readStretch(tick.deps.store, tick.shards, at, relabelBatch - seen);
    await forEachConcurrently(
      stretch.objects,
      tick.tuning.concurrency,
      async (object) => void (await relabel(tick, object)),
    );
    seen += stretch.objects.length;
    at = stretch.next;
  }
  return at === undefined ? { ...rest, labels: policiesOf(tick) } : { ...rest, relabelAt: at };
}
