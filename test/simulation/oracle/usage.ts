import type { Usage } from '../../../lib/base/usage.ts';
import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Actor } from '../operation.ts';
import type { World } from '../world.ts';
import { createLimitsCheck, type SpentOn, type UsageWay, usageWays } from './limits.ts';
import { Violation } from './violation.ts';

/**
 * The usage that is written down is what the backends saw: never more, less only by what is not written down yet, or was
 * lost with its process. And nobody spends what is not left of a limit.
 */
export interface UsageCheck {
  /** A tick begins in a process that may have run others before. */
  runsIn(tick: Actor, process: object, isRecovery: boolean): void;
  /** A request leaves a process. */
  requestSent(by: Actor, backend: string, operation: string, storageKey: string): void;
  /** Bytes of a request's body, or of its answer's. */
  bytesMoved(by: Actor, on: SpentOn, way: 'egressBytes' | 'ingressBytes', bytes: number): void;
  /** An amount did not reach the table. */
  usageRefused(by: Actor): void;
  /** An amount reached the table. */
  usageAdded(by: Actor, hour: string, all: Readonly<Record<string, Usage>>, token: string): void;
  /** Nobody knows whether an amount reaches the table. */
  usageUnanswered(by: Actor): void;
  /** A process has nothing on its way, and says that all is written down. */
  flushed(by: Actor): void;
  /** What differs between the table and what was added to it, or null. */
  usageMismatch(table: ReadonlyMap<string, Usage>): string | null;
}

/** For so long a token that took effect takes no other. */
const tokenLifeMs = 600_000;

type Amounts = Map<string, Record<UsageWay, number>>;

/** What one process spent and has not written down, by `<backend>/<hour>`. */
interface Purse {
  readonly unwritten: Amounts;
  isInDoubt: boolean;
}

export function createUsageCheck(
  world: World,
  files: readonly FleetFile[],
  report: (violation: Violation) => void,
): UsageCheck {
  const processes = new WeakMap<Actor, object>();
  const purses = new WeakMap<object, Purse>();
  const written: Amounts = new Map();
  /** When each took effect last. */
  const tokens = new Map<string, number>();
  const limits = createLimitsCheck(world, files, report);
  const wrong = (message: string) => report(new Violation('usage', message));

  function purseOf(by: Actor): Purse {
    const process = processes.get(by) ?? by;
    const known = purses.get(process);
    if (known !== undefined) return known;
    const purse: Purse = { unwritten: new Map(), isInDoubt: false };
    purses.set(process, purse);
    return purse;
  }

  function spend(by: Actor, on: SpentOn, way: UsageWay, amount: number): void {
    // What an operator does by hand is not a worker's nor an application's.
    if (by.role === 'operator') return;
    const hour = hourOf(world.now + by.skewMs);
    add(purseOf(by).unwritten, `${on.backend}/${hour}`, way, amount);
    limits.spent(by, on, hour, way, amount);
  }

  return {
    runsIn(tick, process, isRecovery) {
      processes.set(tick, process);
      if (isRecovery) limits.recovers(tick);
    },
    requestSent(by, backend, operation, storageKey) {
      const on = { backend, operation, storageKey };
      spend(by, on, 'requests', 1);
      const billed = classOf(operation);
      if (billed !== undefined) spend(by, on, billed, 1);
    },
    bytesMoved: spend,
    usageRefused: limits.couldNotWrite,
    usageAdded(by, hour, all, token) {
      const before = tokens.get(token);
      if (before !== undefined && world.now - before < tokenLifeMs) return;
      const isAgain = before !== undefined;
      tokens.set(token, world.now);
      const { unwritten } = purseOf(by);
      for (const [backend, amounts] of Object.entries(all)) {
        const row = `${backend}/${hour}`;
        for (const way of usageWays) {
          add(written, row, way, amounts[way]);
          if (isAgain) continue;
          const left = (unwritten.get(row)?.[way] ?? 0) - amounts[way];
          if (left < 0) wrong(`${by.name} writes down ${-left} ${way} of ${backend} in ${hour} that were not spent`);
          add(unwritten, row, way, -amounts[way]);
        }
      }
      if ([...unwritten.values()].every((row) => usageWays.every((way) => row[way] === 0))) limits.allWritten(by);
    },
    usageUnanswered(by) {
      purseOf(by).isInDoubt = true;
      limits.couldNotWrite(by);
    },
    flushed(by) {
      const { unwritten, isInDoubt } = purseOf(by);
      if (isInDoubt) return;
      for (const [row, amounts] of unwritten)
        for (const way of usageWays)
          if (amounts[way] !== 0) wrong(`${by.name} ended without writing down ${amounts[way]} ${way} of ${row}`);
    },
    usageMismatch(table) {
      for (const row of new Set([...table.keys(), ...written.keys()]))
        for (const way of usageWays) {
          const [existing, added] = [table.get(row)?.[way] ?? 0, written.get(row)?.[way] ?? 0];
          if (existing !== added) return `${row}: the table says ${existing} ${way}, ${added} were added`;
        }
      return null;
    },
  };
}

/** Asked with every request: worked out once an hour. */
let lastHour = { number: Number.NaN, name: '' };

function hourOf(now: number): string {
  const number = Math.floor(now / 3_600_000);
  if (number !== lastHour.number) lastHour = { number, name: new Date(now).toISOString().slice(0, 13) };
  return lastHour.name;
}

function add(amounts: Amounts, name: string, way: UsageWay, more: number): void {
  const row = amounts.get(name);
  if (row !== undefined) row[way] += more;
  else amounts.set(name, { requests: 0, classA: 0, classB: 0, egressBytes: 0, ingressBytes: 0, [way]: more });
}

/** As most providers bill it: writes and listings, reads, and deletes for nothing. */
function classOf(operation: string): 'classA' | 'classB' | undefined {
  if (operation === 'DELETE' || operation === 'abort-upload') return undefined;
  return operation.startsWith('GET') || operation === 'HEAD' ? 'classB' : 'classA';
}
