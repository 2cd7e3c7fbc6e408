import type { Usage } from '../../../lib/base/usage.ts';
import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Actor } from '../operation.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

/**
 * The usage that is written down is what the backends saw: never more, less only by what is not written down yet, or was
 * lost with its process. And no tick spends what is not left of a monthly limit.
 */
export interface UsageCheck {
  /** A tick begins, as one of so many parts, in a process that may have run others before. */
  runsIn(tick: Actor, process: object, parts: number): void;
  /** A request leaves a process. */
  requestSent(by: Actor, backend: string, operation: string): void;
  /** Bytes of a request's body, or of its answer's. */
  bytesMoved(by: Actor, backend: string, way: 'egressBytes' | 'ingressBytes', bytes: number): void;
  /** A process read what is spent. */
  usageRead(by: Actor, found: ReadonlyMap<string, Usage>): void;
  /** An amount reached the table. */
  usageAdded(by: Actor, hour: string, all: Readonly<Record<string, Usage>>, token: string): void;
  /** Nobody knows whether an amount reaches the table. */
  usageUnanswered(by: Actor): void;
  /** A process has nothing on its way, and says that all is written down. */
  flushed(by: Actor): void;
  /** What differs between the table and what was added to it, or null. */
  usageMismatch(table: ReadonlyMap<string, Usage>): string | null;
}

const fields = ['requests', 'classA', 'classB', 'egressBytes', 'ingressBytes'] as const;
/** For so long a token that took effect takes no other. */
const tokenLifeMs = 600_000;

type Amounts = Map<string, Record<(typeof fields)[number], number>>;

/** What one process spent and has not written down, by `<backend>/<hour>`. */
interface Purse {
  readonly unwritten: Amounts;
  isInDoubt: boolean;
}

/** What one tick found spent before, and has spent since. */
interface Spending {
  readonly parts: number;
  readonly spent: Amounts;
  found?: ReadonlyMap<string, Usage>;
}

export function createUsageCheck(
  world: World,
  files: readonly FleetFile[],
  report: (violation: Violation) => void,
): UsageCheck {
  const processes = new WeakMap<Actor, object>();
  const purses = new WeakMap<object, Purse>();
  const spendings = new WeakMap<Actor, Spending>();
  const written: Amounts = new Map();
  /** When each took effect last. */
  const tokens = new Map<string, number>();
  const wrong = (message: string) => report(new Violation('usage', message));

  function purseOf(by: Actor): Purse {
    const process = processes.get(by) ?? by;
    const known = purses.get(process);
    if (known !== undefined) return known;
    const purse: Purse = { unwritten: new Map(), isInDoubt: false };
    purses.set(process, purse);
    return purse;
  }

  function spend(by: Actor, backend: string, way: (typeof fields)[number], amount: number): void {
    // What an operator does by hand is not a worker's nor an application's.
    if (by.role === 'operator') return;
    add(purseOf(by).unwritten, `${backend}/${hourOf(world.now + by.skewMs)}`, way, amount);
    const spending = spendings.get(by);
    if (spending !== undefined) add(spending.spent, backend, way, amount);
  }

  /** The highest that was ever in force: a process goes by the file that it read. */
  function limitOf(backend: string, way: (typeof fields)[number]): number {
    let highest = Number.NEGATIVE_INFINITY;
    for (const { backends } of files)
      for (const { name, limits } of backends)
        if (name === backend) highest = Math.max(highest, limits[way] || Number.POSITIVE_INFINITY);
    return highest;
  }

  /** What was sent in vain is spent all the same, so only a tick that met no fault is held to it. */
  function checkLimits(by: Actor, backend: string, way: 'egressBytes' | 'ingressBytes'): void {
    const spending = spendings.get(by);
    if (spending?.found === undefined || by.hadFault) return;
    const before = spending.found.get(backend);
    const spent = spending.spent.get(backend)![way];
    const share = (limitOf(backend, way) - (before?.[way] ?? 0)) / spending.parts;
    if (spent > share) wrong(`${by.name} spends ${spent} ${way} of ${backend}, where ${share} were left to it`);
    if ((before?.requests ?? 0) >= limitOf(backend, 'requests'))
      wrong(`${by.name} spends ${way} of ${backend}, whose requests it found spent`);
  }

  /** What is listed so that something can be deleted is never refused; what was sent in vain is spent all the same. */
  function checkClassA(by: Actor, backend: string, operation: string): void {
    const before = spendings.get(by)?.found?.get(backend)?.classA ?? 0;
    const isForDeletion = by.role === 'cleanup-queue' || operation === 'open-uploads';
    // A recovery asks what all backends hold of a key, whatever is left: a person's read. Passes are held to it by a test.
    const isAsked = operation === 'LIST';
    if (by.hadFault || isForDeletion || isAsked || before < limitOf(backend, 'classA')) return;
    wrong(`${by.name} sends ${operation} to ${backend}, whose class A requests it found spent`);
  }

  return {
    runsIn(tick, process, parts) {
      processes.set(tick, process);
      spendings.set(tick, { parts, spent: new Map() });
    },
    requestSent(by, backend, operation) {
      spend(by, backend, 'requests', 1);
      const billed = classOf(operation);
      if (billed === undefined) return;
      spend(by, backend, billed, 1);
      if (billed === 'classA') checkClassA(by, backend, operation);
    },
    bytesMoved(by, backend, way, bytes) {
      spend(by, backend, way, bytes);
      checkLimits(by, backend, way);
    },
    usageRead(by, found) {
      const spending = spendings.get(by);
      if (spending !== undefined) spending.found = new Map([...found, ...(spending.found ?? [])]);
    },
    usageAdded(by, hour, all, token) {
      const before = tokens.get(token);
      if (before !== undefined && world.now - before < tokenLifeMs) return;
      const isAgain = before !== undefined;
      tokens.set(token, world.now);
      const { unwritten } = purseOf(by);
      for (const [backend, amounts] of Object.entries(all)) {
        const row = `${backend}/${hour}`;
        for (const way of fields) {
          add(written, row, way, amounts[way]);
          if (isAgain) continue;
          const left = (unwritten.get(row)?.[way] ?? 0) - amounts[way];
          if (left < 0) wrong(`${by.name} writes down ${-left} ${way} of ${backend} in ${hour} that were not spent`);
          add(unwritten, row, way, -amounts[way]);
        }
      }
    },
    usageUnanswered(by) {
      purseOf(by).isInDoubt = true;
    },
    flushed(by) {
      const { unwritten, isInDoubt } = purseOf(by);
      if (isInDoubt) return;
      for (const [row, amounts] of unwritten)
        for (const way of fields)
          if (amounts[way] !== 0) wrong(`${by.name} ended without writing down ${amounts[way]} ${way} of ${row}`);
    },
    usageMismatch(table) {
      for (const row of new Set([...table.keys(), ...written.keys()]))
        for (const way of fields) {
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

function add(amounts: Amounts, name: string, way: (typeof fields)[number], more: number): void {
  const row = amounts.get(name);
  if (row !== undefined) row[way] += more;
  else amounts.set(name, { requests: 0, classA: 0, classB: 0, egressBytes: 0, ingressBytes: 0, [way]: more });
}

/** As most providers bill it: writes and listings, reads, and deletes for nothing. */
function classOf(operation: string): 'classA' | 'classB' | undefined {
  if (operation === 'DELETE' || operation === 'abort-upload') return undefined;
  return operation.startsWith('GET') || operation === 'HEAD' ? 'classB' : 'classA';
}
