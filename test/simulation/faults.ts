import { BackendError, type BackendErrorKind } from '../../lib/fleet/backend.ts';
import { StoreError, type StoreErrorKind } from '../../lib/store/port.ts';
import type { Fate } from './operation.ts';
import type { Random } from './random.ts';

/** States a whole backend can be in for a while. */
export const windowFaults = [
  'backend outage',
  'backend flapping',
  'backend slow',
  'backend throttling',
  'backend forbidden',
  'bucket missing',
] as const;
export type WindowFault = (typeof windowFaults)[number];

/** Every fault there is; a history has some of them. */
export const allFaults = [
  ...windowFaults,
  'backend error',
  'backend answer lost',
  'backend write delayed',
  'backend delete delayed',
  'backend delete refused',
  'body truncated',
  'body corrupted in transit',
  'wrong 404',
  'key reads corrupted',
  'put corrupted',
  'put corrupted unseen',
  'bytes vanished',
  'bytes rotted',
  'caller content failed',
  'store request lost',
  'store answer lost',
  'store write delayed',
  'store conflict',
  'store throttled',
  'store unreachable',
  'store storm',
  'index lag',
  'clock skew',
  'tick killed',
  'tick frozen',
  'tick past its deadline',
  'client killed',
  'client frozen',
  'duplicate event',
  'late event',
  'overlapping parts',
  'fleet file applied',
  'worker paused',
  'backend drained',
  'backend lost',
  'torn query',
  'old queue item restored',
  'tight quota',
  'tight usage limit',
  'backend stalls',
  'listing broken off',
  'listing lag',
  'empty listing',
  'versions kept',
  'delete marker left',
  'buckets imported',
  'external client wrote',
  'external client overwrote',
  'external client deleted',
  'metadata restored',
  'metadata lost',
  'recovery killed',
  'marks without hashes',
  'recovered while alive',
  'copies rotted meanwhile',
  'contents encrypted',
  'encryption key rotated',
  'encryption key removed',
  'ledger recounted',
  'backend dropped',
  'backend forgotten',
  'backend moved',
  'key rewritten',
  'headers rewritten',
  'mark forged',
  'file with a useless ETag',
  'listing token forgotten',
  'listing goes in circles',
  'credentials missing',
  'slow bodies',
  'key refused',
  'key unreadable',
  'key undeletable',
  'upload listing denied',
  'listing denied',
  'copies spread',
  'spreading changed',
  'puts of several copies',
  'brought back',
  'version listing denied',
  'target hangs up first',
  'parked at a take-over',
  'equal file written',
  'drained before the tables were saved',
  'recovered one by one',
] as const;
export type Fault = (typeof allFaults)[number];

type Lie = 'wrong 404' | 'key reads corrupted';

export interface Faults {
  readonly counts: ReadonlyMap<string, number>;
  isOn(fault: Fault): boolean;
  /** Whether a single fault strikes now, at the history's rate times `weight`; counted when it does. */
  strikes(fault: Fault, weight?: number): boolean;
  /** Whether a fault strikes that belongs to a time when nothing else goes wrong; counted when it does. */
  strikesAtRest(fault: Fault, random: Random, probability: number): boolean;
  count(fault: string): void;
  storeFate(kind: 'read' | 'write'): Fate;
  /** Whether a transaction is refused by a conflict. */
  conflicts(): boolean;
  backendFate(backend: string, kind: 'read' | 'write' | 'delete'): Fate;
  windowOn(backend: string): WindowFault | undefined;
  openWindow(backend: string, fault: WindowFault, ms: number): void;
  /** A backend is unreachable from now on, also when everything else works; null: none is. */
  lose(backend: string | null): void;
  openStorm(ms: number): void;
  /** A backend answers falsely about one key. */
  openLie(backend: string, storageKey: string, lie: Lie, ms: number): void;
  lieAbout(backend: string, storageKey: string): Lie | undefined;
  /** Has the backend answered nothing at all since a step, or longer? */
  isUnreachableSinceBefore(backend: string, step: number): boolean;
  /** Could reads of this key have been evidence against it since a step: one false 404, or two reads of other bytes? */
  misledSince(backend: string, storageKey: string, step: number): boolean;
  noteMisled(backend: string, storageKey: string): void;
  /** The next answer with these bytes has one bit turned, whatever else works. */
  misread(backend: string, storageKey: string): void;
  /** Whether this answer is the one; counted when it is. */
  isMisread(backend: string, storageKey: string): boolean;
  /** Nothing that has not been read yet is misread. */
  forgetMisreads(): void;
  /** From now on, or no more, every target hangs up that waits too long for bytes, whatever else works. */
  makeImpatient(isOn: boolean): void;
  /** Whether a target hangs up now, before its source says that it has failed; counted when it does. */
  hangsUp(): boolean;
  /** Everything works until `start`, and again after `stop`. */
  start(): void;
  stop(): void;
  isStopped(): boolean;
  /** Nothing has gone wrong so far. */
  isYetToStart(): boolean;
}

export interface FaultsOptions {
  readonly random: Random;
  /** A stream of its own for each purpose. */
  readonly stream: (purpose: string) => Random;
  readonly now: () => number;
  readonly step: () => number;
}

interface Window {
  readonly fault: WindowFault;
  readonly until: number;
  readonly sinceStep: number;
}

/** In these a backend serves nobody; in the others it only serves badly. */
const outageFaults: ReadonlySet<WindowFault> = new Set(['backend outage', 'backend forbidden', 'bucket missing']);

const never: Fate = { kind: 'answered' };

export function createFaults({ random, stream, now, step }: FaultsOptions): Faults {
  // Swarm testing: each history has a random half of the faults, so that none hides another. Groce et al., ISSTA 2012.
  const share = random.pick([0.1, 0.3, 0.5, 0.7, 0.9]);
  // By a stream each: another fault in the list leaves the others as they are.
  const enabled = new Set<Fault>(allFaults.filter((fault) => stream(`has ${fault}`).chance(share)));
  const rate = random.spread(4, 50) / 1000;
  const counts = new Map<string, number>();
  const windows = new Map<string, Window>();
  const lies = new Map<string, { readonly lie: Lie; readonly until: number }>();
  const misled = new Map<string, number[]>();
  const misreads = new Set<string>();
  let areTargetsImpatient = false;
  let stormUntil = 0;
  let gone: { readonly backend: string; readonly window: Window } | null = null;
  let isStopped = true;
  let hasStarted = false;

  const count = (fault: string) => counts.set(fault, (counts.get(fault) ?? 0) + 1);
  const isOn = (fault: Fault) => enabled.has(fault);
  const isRolled = (fault: Fault, weight: number) =>
    !isStopped && isOn(fault) && random.chance(Math.min(0.6, rate * weight));
  const mislead = (place: string, times: number) =>
    misled.set(place, [...(misled.get(place) ?? []), ...Array(times).fill(step())]);
  const windowOn = (backend: string): Window | undefined => {
    if (gone?.backend === backend) return gone.window;
    const window = windows.get(backend);
    if (window === undefined) return undefined;
    if (!isStopped && window.until > now()) return window;
    windows.delete(backend);
    return undefined;
  };

  function storeFate(kind: 'read' | 'write'): Fate {
    if (isStopped) return never;
    const weight = stormUntil > now() ? 12 : 1;
    const error = (errorKind: StoreErrorKind) => new StoreError(errorKind, `The store is ${errorKind} (simulated)`);
    if (isRolled('store throttled', weight))
      return { kind: 'refused', fault: 'store throttled', error: error('throttled') };
    if (isRolled('store unreachable', weight))
      return { kind: 'refused', fault: 'store unreachable', error: error('unreachable') };
    if (isRolled('store request lost', weight))
      return { kind: 'refused', fault: 'store request lost', error: error('unanswered') };
    if (kind === 'read') return never;
    if (isRolled('store answer lost', weight))
      return { kind: 'answer-lost', fault: 'store answer lost', error: error('unanswered') };
    if (isRolled('store write delayed', weight))
      return {
        kind: 'delayed',
        fault: 'store write delayed',
        error: error('unanswered'),
        ms: random.spread(10, 10_800_000),
        lands: random.chance(0.8),
      };
    return never;
  }

  function backendFate(backend: string, kind: 'read' | 'write' | 'delete'): Fate {
    if (isStopped && gone === null) return never;
    const error = (errorKind: BackendErrorKind) =>
      new BackendError(errorKind, backend, `Backend "${backend}" is ${errorKind} (simulated)`);
    const refused = (fault: Fault, errorKind: BackendErrorKind): Fate => ({
      kind: 'refused',
      fault,
      error: error(errorKind),
    });
    const lost = (fault: Fault): Fate => ({
      kind: 'answer-lost',
      fault,
      error: error(random.pick(['unavailable', 'timeout'])),
    });
    const delayed = (fault: Fault): Fate => ({
      kind: 'delayed',
      fault,
      error: error(random.pick(['unavailable', 'timeout'])),
      ms: random.spread(10, kind === 'delete' ? 1_200_000 : 7_200_000),
      lands: true,
    });
    const window = windowOn(backend)?.fault;
    if (window === 'backend outage') {
      if (kind === 'write' && random.chance(0.1)) return lost(window);
      return refused(window, random.pick(['unreachable', 'unavailable', 'timeout', 'credentials']));
    }
    if (window === 'backend flapping' && random.chance(0.5)) return refused(window, 'unavailable');
    if (window === 'backend slow' && random.chance(0.5))
      return { kind: 'slow', fault: window, ms: random.spread(100, 90_000) };
    if (window === 'backend throttling' && random.chance(0.8)) return refused(window, 'throttled');
    if (window === 'backend forbidden') return refused(window, 'denied');
    if (isRolled('backend stalls', 0.5))
      return { kind: 'slow', fault: 'backend stalls', ms: random.spread(20_000, 300_000) };
    if (isRolled('backend error', 1))
      return refused('backend error', random.pick(['unreachable', 'unavailable', 'timeout', 'throttled']));
    if (kind === 'read') return never;
    if (isRolled('backend answer lost', 3)) return lost('backend answer lost');
    if (kind === 'write' && isRolled('backend write delayed', 3)) return delayed('backend write delayed');
    if (kind === 'delete' && isRolled('backend delete delayed', 12)) return delayed('backend delete delayed');
    return never;
  }

  return {
    counts,
    isOn,
    strikes: (fault, weight = 1) => {
      const does = isRolled(fault, weight);
      if (does) count(fault);
      return does;
    },
    strikesAtRest: (fault, own, probability) => {
      const does = isOn(fault) && own.chance(probability);
      if (does) count(fault);
      return does;
    },
    count,
    storeFate,
    conflicts: () => {
      const does = isRolled('store conflict', stormUntil > now() ? 12 : 2);
      if (does) count('store conflict');
      return does;
    },
    backendFate,
    windowOn: (backend) => windowOn(backend)?.fault,
    openWindow: (backend, fault, ms) => {
      count(fault);
      windows.set(backend, { fault, until: now() + ms, sinceStep: step() });
    },
    lose: (backend) => {
      if (backend !== null) count('backend lost');
      const window: Window = { fault: 'backend outage', until: Number.POSITIVE_INFINITY, sinceStep: step() };
      gone = backend === null ? null : { backend, window };
    },
    openStorm: (ms) => {
      count('store storm');
      stormUntil = now() + ms;
    },
    openLie: (backend, storageKey, lie, ms) => {
      count(lie);
      lies.set(`${backend}/${storageKey}`, { lie, until: now() + ms });
    },
    lieAbout: (backend, storageKey) => {
      if (lies.size === 0 || isStopped) return undefined;
      const place = `${backend}/${storageKey}`;
      const found = lies.get(place);
      if (found === undefined || found.until <= now()) return undefined;
      if (found.lie === 'wrong 404') mislead(place, 2);
      return found.lie;
    },
    isUnreachableSinceBefore: (backend, since) => {
      const window = windowOn(backend);
      return window !== undefined && outageFaults.has(window.fault) && window.sinceStep <= since;
    },
    misledSince: (backend, storageKey, since) =>
      (misled.get(`${backend}/${storageKey}`) ?? []).filter((at) => at >= since).length >= 2,
    noteMisled: (backend, storageKey) => mislead(`${backend}/${storageKey}`, 1),
    misread: (backend, storageKey) => void misreads.add(`${backend}/${storageKey}`),
    isMisread: (backend, storageKey) => {
      const is = misreads.delete(`${backend}/${storageKey}`);
      if (is) count('body corrupted in transit');
      return is;
    },
    forgetMisreads: () => misreads.clear(),
    makeImpatient: (isOn) => {
      areTargetsImpatient = isOn;
    },
    hangsUp: () => {
      const does = areTargetsImpatient || isRolled('target hangs up first', 400);
      if (does) count('target hangs up first');
      return does;
    },
    start: () => {
      isStopped = false;
      hasStarted = true;
    },
    stop: () => {
      isStopped = true;
    },
    isStopped: () => isStopped,
    isYetToStart: () => !hasStarted,
  };
}
