import { refusalBackoffMs } from '../plans/backoff.ts';
import type { BackendStanding, FleetView } from '../store/fleet-view.ts';
import type { ObjectRecord, StuckReason } from '../store/model.ts';
import type { Tick } from '../tick/tick.ts';
import { wantsCopyOn } from './missing-copies.ts';

/** That one backend refuses one object: as a target it takes no copy of it, as a source it gives none. */
export interface Refusal {
  readonly backend: string;
  readonly leg: StuckReason['leg'];
  /** Kind of the error, or `missing`, `wrong`, `changed`, `examining`, `examining-change`, `unproven`, `stored-wrong`. */
  readonly cause: string;
  /** For people. */
  readonly message: string;
}

/** The moment at which refusals are looked at, and the fleet as it is then. */
export interface RetryView {
  readonly now: number;
  /** The fleet file and the drains in force: refusals met under others are no longer waited for. */
  readonly asOf: string;
}

/** Longest text kept of a refusal. */
const maxMessage = 300;
/** What speaks against a copy's bytes is settled by quarantine: it makes no object stuck, however long that takes. */
const evidence: ReadonlySet<string> = new Set(['missing', 'wrong', 'changed', 'examining', 'examining-change']);

export function retryViewOf(tick: Pick<Tick, 'view' | 'config' | 'now'>): RetryView {
  return { now: tick.now(), asOf: fleetAsOf(tick.view, tick.config) };
}

/** By view, which holds the file in force: it is asked for several times with every object. */
const asOfView = new WeakMap<FleetView, string>();

function fleetAsOf(view: FleetView, config: Tick['config']): string {
  const asOf = asOfView.get(view) ?? textOfFleet(view, config);
  asOfView.set(view, asOf);
  return asOf;
}

function textOfFleet(view: FleetView, { backends }: Tick['config']): string {
  const drains = backends.flatMap(({ name }) => {
    const drain = view.drain(name);
    return drain === undefined ? [] : [`${name}@${drain.since}`];
  });
  return [view.config!.version, ...drains.sort()].join(' ');
}

/** A refusal holds while the record is such that it could be met again: a target has no copy there, a source has one. */
function reasonOf(object: ObjectRecord, backend: string, leg: StuckReason['leg']): StuckReason | undefined {
  const { stuck = {}, copies } = object;
  const reason = Object.hasOwn(stuck, backend) ? stuck[backend] : undefined;
  const legNow = Object.hasOwn(copies, backend) ? 'source' : 'target';
  return reason?.leg === leg && leg === legNow ? reason : undefined;
}

/** Whether a backend refused the object, and is not to be asked again yet. */
export function isWaiting(
  object: ObjectRecord,
  backend: string,
  leg: StuckReason['leg'],
  retryView: RetryView,
): boolean {
  const reason = reasonOf(object, backend, leg);
  return reason !== undefined && reason.asOf === retryView.asOf && reason.nextTryAt > retryView.now;
}

type FleetTick = Pick<Tick, 'config' | 'standing' | 'standings'>;

/** Backends of the fleet file that an object could go to, whatever state they are in: one that is down has refused nothing. */
function possibleTargets(tick: FleetTick, object: ObjectRecord): BackendStanding[] {
  return tick.standings().filter(({ name, config, isDraining, isLeaving }) => {
    if (config === undefined || isDraining || isLeaving || Object.hasOwn(object.copies, name)) return false;
    if (!wantsCopyOn(tick, object, name)) return false;
    return config.maxObjectBytes === 0 || config.maxObjectBytes >= object.sizeBytes;
  });
}

/** Whether every backend that an object could go to, or every one that it could come from, refuses it. */
export function isRefusedEverywhere(tick: FleetTick, object: ObjectRecord): boolean {
  const isSource = ({ name, config }: BackendStanding) => config !== undefined && Object.hasOwn(object.copies, name);
  const sources = tick.standings().filter(isSource);
  const refuses = (leg: StuckReason['leg']) => (standing: BackendStanding) => {
    const reason = reasonOf(object, standing.name, leg);
    return reason !== undefined && !evidence.has(reason.cause);
  };
  const targets = possibleTargets(tick, object);
  return isAll(targets, refuses('target')) || isAll(sources, refuses('source'));
}

function isAll<T>(all: readonly T[], holds: (one: T) => boolean): boolean {
  return all.length > 0 && all.every(holds);
}

/** What a turn learnt of an object: who refuses it, and whose refusal is settled. */
export interface Learnt {
  readonly refusals: readonly Refusal[];
  readonly settled?: readonly string[];
}

/** The record with what a turn learnt, each refusal one more in a row; and under the condition that follows from all. */
export function withRefusals(
  tick: FleetTick & Pick<Tick, 'view' | 'now'>,
  object: ObjectRecord,
  { refusals, settled = [] }: Learnt,
): ObjectRecord {
  const retryView = retryViewOf(tick);
  const stuck = { ...reasonsThatHold(object) };
  for (const backend of settled) delete stuck[backend];
  for (const refusal of refusals) {
    const before = reasonOf(object, refusal.backend, refusal.leg);
    stuck[refusal.backend] = reasonFor(refusal, before?.attempts ?? 0, retryView);
  }
  return withReasons(object, stuck, (after) => isRefusedEverywhere(tick, after));
}

/** A copy whose bytes are being examined, over as many ticks as reading them takes, and what they seemed to be. */
export interface Examined {
  readonly backend: string;
  readonly seem: 'wrong' | 'changed';
}

export function underExamination(object: ObjectRecord): Examined[] {
  return Object.keys(object.stuck ?? {}).flatMap((backend): Examined[] => {
    const cause = reasonOf(object, backend, 'source')?.cause;
    if (cause === 'examining') return [{ backend, seem: 'wrong' }];
    return cause === 'examining-change' ? [{ backend, seem: 'changed' }] : [];
  });
}

/** The record once a copy of it was made: what others refused is remembered only while more copies are wanted. */
export function withoutRefusals(object: ObjectRecord, wantsMore: boolean): ObjectRecord {
  return wantsMore ? withReasons(object, reasonsThatHold(object), () => false) : unstuck(object);
}

/** The record of an object that wants nothing. */
export function unstuck({ stuck: _, ...object }: ObjectRecord): ObjectRecord {
  return { ...object, condition: object.condition === 'damaged' ? 'damaged' : 'sound' };
}

function reasonsThatHold(object: ObjectRecord): Record<string, StuckReason> {
  const entries = Object.entries(object.stuck ?? {});
  return Object.fromEntries(entries.filter(([name, { leg }]) => reasonOf(object, name, leg) !== undefined));
}

function reasonFor({ leg, cause, message }: Refusal, before: number, { now, asOf }: RetryView): StuckReason {
  const nextTryAt = now + refusalBackoffMs(before);
  return { leg, cause, message: message.slice(0, maxMessage), attempts: before + 1, refusedAt: now, nextTryAt, asOf };
}

function withReasons(
  object: ObjectRecord,
  stuck: Readonly<Record<string, StuckReason>>,
  isStuck: (after: ObjectRecord) => boolean,
): ObjectRecord {
  if (Object.keys(stuck).length === 0) return unstuck(object);
  const after: ObjectRecord = { ...object, stuck };
  if (object.condition === 'damaged') return after;
  return { ...after, condition: isStuck(after) ? 'stuck' : 'sound' };
}
