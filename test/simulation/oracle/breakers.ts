import { defined } from '../../../lib/base/defined.ts';
import type { BreakerState } from '../../../lib/base/health.ts';
import type { Actor } from '../operation.ts';
import { Violation } from './violation.ts';

/**
 * While a breaker is open, one process at a time may ask its backend, and none before its time: the others send it nothing.
 * It opens only by what the backend itself has shown.
 */
export interface BreakersCheck {
  /** What the table now holds of a backend's breaker. It was so when it was sent: it may land late. */
  breakerWritten(by: Actor, backend: string, state: BreakerState, sentAt: number): void;
  /** A process has read the state of the fleet, and in it that these breakers are open. */
  fleetRead(by: Actor, open: ReadonlySet<string>): void;
  /** A backend answers in a way that speaks of itself, or not at all. */
  backendFaulted(backend: string): void;
  /** A request leaves a process. */
  requestSent(by: Actor, backend: string, operation: string): void;
  /** It has ended, one way or the other. */
  requestEnded(by: Actor, backend: string): void;
}

/** What BREAKER_OPEN_SECONDS and the life of a probe are in every history. */
const openMs = 300_000;
const probeMs = 60_000;
/** Two clocks may be this far apart. */
const skewMs = 10_000;
/** A Lambda ends after 15 minutes: what its tick saw at its beginning is written down at its end. */
const longestTickMs = 900_000;

/** An open breaker. */
interface Spell {
  /** As the row says; changes whenever it is opened anew. */
  readonly openedAt: number;
  readonly probeExpiresAt: number | undefined;
  /** True time at which the process wrote so. */
  readonly since: number;
  /** Who may ask, and until when no other. */
  readonly probe?: { readonly by: Actor; readonly until: number };
}

export function createBreakersCheck(
  { now, step, failures }: { readonly now: () => number; readonly step: () => number; readonly failures: number },
  report: (violation: Violation) => void,
): BreakersCheck {
  let spells: ReadonlyMap<string, Spell> = new Map();
  /** By process: the open breakers that it has read of, and the step in which it learned of each. */
  const known = new WeakMap<Actor, ReadonlyMap<string, number>>();
  const probed = new WeakMap<Actor, Set<string>>();
  /** By process and backend: when a request last ended. */
  const heardAt = new WeakMap<Actor, Map<string, number>>();
  /** Backends whose breakers an application has never read to be closed. */
  const neverClosed = new WeakMap<Actor, ReadonlySet<string>>();
  /** When backends failed, since their breaker was last closed, and before that as long as a tick that saw it may still report it. */
  const faultsOf = new Map<string, readonly number[]>();
  const wrong = (message: string) => report(new Violation('one probe', message));

  function claimed(by: Actor, backend: string, before: Spell | undefined, sentAt: number): void {
    if (before === undefined) wrong(`${by.name} claims the probe of ${backend}, whose breaker is closed`);
    else if (sentAt < before.since + openMs - skewMs)
      wrong(`${by.name} claims the probe of ${backend} ${sentAt - before.since} ms after its breaker opened`);
    else if (before.probe !== undefined && sentAt < before.probe.until - skewMs)
      wrong(`${by.name} claims the probe of ${backend} while ${before.probe.by.name} has it`);
    probed.set(by, (probed.get(by) ?? new Set()).add(backend));
  }

  return {
    breakerWritten(by, backend, { openedAt, probeExpiresAt }, sentAt) {
      const before = spells.get(backend);
      const after = new Map(spells);
      const isClaim = probeExpiresAt !== undefined && probeExpiresAt !== before?.probeExpiresAt;
      if (isClaim) claimed(by, backend, before, sentAt);
      const isClosed = before !== undefined && openedAt === undefined;
      if (isClosed && (heardAt.get(by)?.get(backend) ?? Number.NEGATIVE_INFINITY) < before.since - skewMs)
        wrong(`${by.name} closes the breaker of ${backend}, of which it has heard nothing since it was opened`);
      const failedAt = faultsOf.get(backend) ?? [];
      if (isClosed)
        faultsOf.set(
          backend,
          failedAt.filter((at) => at >= now() - longestTickMs),
        );
      const seen = failedAt.length;
      if (before === undefined && openedAt !== undefined && seen < failures)
        report(
          new Violation(
            'breakers',
            `${by.name} opens the breaker of ${backend}, which has shown ${seen} failures of its own; it takes ${failures}`,
          ),
        );
      if (openedAt === undefined) after.delete(backend);
      else {
        const since = openedAt === before?.openedAt ? before.since : sentAt;
        const probe = isClaim ? { by, until: sentAt + probeMs } : undefined;
        after.set(backend, { openedAt, probeExpiresAt, since, ...defined({ probe }) });
      }
      spells = after;
    },
    fleetRead(by, open) {
      const last = known.get(by);
      const learned = last === undefined ? Number.NEGATIVE_INFINITY : step();
      known.set(by, new Map([...open].map((name) => [name, last?.get(name) ?? learned])));
      const before = neverClosed.get(by) ?? open;
      neverClosed.set(by, new Set([...before].filter((name) => open.has(name))));
    },
    backendFaulted: (backend) => void faultsOf.set(backend, [...(faultsOf.get(backend) ?? []), now()]),
    requestEnded(by, backend) {
      heardAt.set(by, (heardAt.get(by) ?? new Map<string, number>()).set(backend, now()));
    },
    requestSent(by, backend, operation) {
      if (by.role === 'operator') return;
      if (by.role === 'client') {
        // It may read from an unreachable backend when no other holds its object, and one of its calls knows less than another.
        const isWrite = operation === 'PUT begins' || operation === 'create-upload';
        if (isWrite && neverClosed.get(by)?.has(backend))
          wrong(`${by.name} puts to ${backend}, whose breaker it has never read to be closed`);
        return;
      }
      const learned = known.get(by)?.get(backend);
      // What it was about to send when the answer came goes out in the same step.
      if (learned === undefined || step() === learned || probed.get(by)?.has(backend)) return;
      wrong(`${by.name} sends ${operation} to ${backend}, whose breaker it has read to be open`);
    },
  };
}
