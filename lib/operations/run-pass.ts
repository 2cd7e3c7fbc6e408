import type { Clock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import { shareReached } from '../plans/key-share.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import {
  listingGoesRound,
  type NamedKey,
  type PassId,
  type PassRange,
  passHeader,
  passName,
  rangesOfPass,
  reachedBy,
} from '../store/pass-rows.ts';
import type { Store } from '../store/port.ts';
import type { ReconcileRequest, TickEvent, TickReport } from '../tick/tick.ts';

/** What running passes to their end needs. */
export interface RunPassDeps {
  readonly store: Pick<Store, 'control'>;
  readonly clock: Clock;
  /** One tick of the reconciler. */
  tick(event: TickEvent): Promise<TickReport>;
}

export interface RunPassOptions {
  /** Stops after what is in flight. */
  readonly stop?: AbortSignal;
  /** Told after each stretch of work. */
  onProgress?(progress: PassProgress): void;
}

/** How far passes have come, as their ranges say. */
export interface PassProgress {
  readonly isComplete: boolean;
  /** When the pass began. Milliseconds since the epoch. */
  readonly beganAt: number;
  /** Keys listed, and their sizes together. */
  readonly listed: number;
  readonly bytes: number;
  /** About what share of all keys that is, in [0, 1]. */
  readonly share: number;
  /** Keys by what was found of them; what was as it should be is not counted. */
  readonly counts: Readonly<Record<string, number>>;
  readonly named: readonly NamedKey[];
  readonly ranges: { readonly done: number; readonly all: number };
  /** What keeps ranges from going on, by backend. */
  readonly problems: readonly string[];
}

/**
 * `ended`: complete, or kept from going on by what its progress names · `stopped` by the caller · `busy` with another process ·
 * `error` it could not begin.
 */
export type PassRun =
  | { readonly outcome: 'ended' | 'stopped'; readonly progress: PassProgress }
  | { readonly outcome: 'busy' }
  | { readonly outcome: 'error'; readonly message: string };

/** A tick works as long: a process that is killed holds its ranges no longer than that. */
const stretchMs = 30_000;
const pauseMs = 2_000;
/**
 * What gets no further in that because its time is up has longer, up to this: a page may hold a thousand keys to be read. What is
 * read on has as many of these as it takes.
 */
const longestStretchMs = 8 * 60_000;

/**
 * Runs whole passes to their end, tick after tick; each goes on where the last stopped, whoever ran it. It ends early when a
 * stretch of work gets no further, however long it is: what keeps it is then in its progress.
 */
export async function runPass(
  deps: RunPassDeps,
  request: ReconcileRequest,
  options: RunPassOptions = {},
): Promise<PassRun> {
  const { clock, store } = deps;
  const since = clock.now();
  const busyUntil = since + 2 * stretchMs;
  let before = '';
  let lengthMs = stretchMs;
  for (;;) {
    const report = await deps.tick({
      deadline: clock.now() + lengthMs,
      reconcile: { since, ...request },
      ...defined({ stop: options.stop }),
    });
    if (report.outcome === 'error' && report.figures.passComplete === undefined && report.planned === 0)
      return { outcome: 'error', message: report.message ?? 'the pass could not begin' };
    if (report.outcome === 'busy') {
      if (clock.now() >= busyUntil || options.stop?.aborted) return { outcome: 'busy' };
      await clock.sleep(pauseMs);
      continue;
    }
    const { progress, isOutOfTime, furthest: now } = await passProgress(store, clock, { ...request, since }, report);
    options.onProgress?.(progress);
    if (progress.isComplete) return { outcome: 'ended', progress };
    if (options.stop?.aborted) return { outcome: 'stopped', progress };
    if (now === before) {
      // What is refused is refused three times at most, and then named.
      const isReadOn = (report.reasons.reading ?? 0) + (report.reasons['tried-again'] ?? 0) > 0;
      if (!isReadOn && (!isOutOfTime || lengthMs >= longestStretchMs)) return { outcome: 'ended', progress };
      lengthMs = Math.min(lengthMs * 4, longestStretchMs);
      // What is read on may rest for a while: a tick has nothing to do then.
      if (isReadOn) await clock.sleep(pauseMs);
    }
    before = now;
  }
}

/** Whether a range waits only because time was up in its last turn: nothing is said to keep it, or what it asked was broken off. */
function isCutShort({ position, problem }: PassRange): boolean {
  return position.phase !== 'done' && (problem === undefined || problem.endsWith('-cancelled'));
}

/** Files are listed side by side; everything else is a pass of each backend. */
export function passesOf(request: PassId): PassId[] {
  if (request.kind === 'import') return [request];
  return request.backends.map((name) => ({ ...request, backends: [name] }));
}

async function passProgress(
  store: Pick<Store, 'control'>,
  clock: Clock,
  request: ReconcileRequest & { readonly since: number },
  { figures, message }: TickReport,
): Promise<{ readonly progress: PassProgress; readonly isOutOfTime: boolean; readonly furthest: string }> {
  const isComplete = figures.passComplete === 1;
  const view = await readFleet(store, clock.now());
  const ranges: PassRange[] = [];
  const problems: string[] = [];
  let beganAt = clock.now();
  for (const id of passesOf(request)) {
    const name = passName(id);
    const { number, startedAt, isRunning, completedAt } = passHeader(view, name);
    // The one before is over, and another did not begin.
    const isFormer = !isRunning && completedAt !== undefined && completedAt < request.since;
    const own = isFormer ? [] : (await rangesOfPass(store, name)).filter(({ pass }) => pass === number);
    if (own.length === 0) problems.push(...id.backends.map((backend) => `${backend}: ${whyNotBegun(view, backend)}`));
    else beganAt = Math.min(beganAt, startedAt);
    ranges.push(...own);
  }
  if (!isComplete && message !== undefined) problems.push(message);
  const counts: Record<string, number> = {};
  for (const range of ranges)
    for (const [what, times] of Object.entries(range.counts)) counts[what] = (counts[what] ?? 0) + times;
  const progress = {
    isComplete,
    beganAt,
    listed: ranges.reduce((sum, { listed }) => sum + listed, 0),
    bytes: ranges.reduce((sum, { bytes }) => sum + bytes, 0),
    share: isComplete ? 1 : shareOfRanges(ranges),
    counts,
    named: ranges.flatMap(({ named }) => named),
    ranges: { done: ranges.filter(({ position }) => position.phase === 'done').length, all: ranges.length },
    problems: [...new Set([...ranges.flatMap(problemOf).sort(), ...problems])],
  };
  return { progress, isOutOfTime: ranges.some(isCutShort), furthest: furthestOf(ranges) };
}

/** What changes while a pass gets further. One whose listing goes round lists the same keys again in every stretch of its work. */
function furthestOf(ranges: readonly PassRange[]): string {
  return JSON.stringify(
    ranges.map(({ id, problem, position, listed, counts }) =>
      problem === listingGoesRound ? [id, problem] : [id, position.phase === 'done', listed, counts],
    ),
  );
}

/** About what share of its keys a pass has gone through. */
export function shareOfRanges(ranges: readonly PassRange[]): number {
  return shareReached(ranges.map(reachedOf));
}

function reachedOf({ from, upTo, position }: PassRange) {
  const reached = position.phase === 'listing' ? reachedBy(position) : undefined;
  return { from, upTo, reached, isDone: position.phase === 'done' };
}

function whyNotBegun(view: FleetView, backend: string): string {
  return view.breaker(backend)?.openedAt === undefined ? 'unusable' : 'unreachable';
}

function problemOf({ problem, backends }: PassRange): string[] {
  return problem === undefined ? [] : [`${backends.join('+')}: ${problem}`];
}
