import { expect } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { StoreError } from '../../lib/store/port.ts';
import { isWhole } from './extent.ts';
import { createTestFleet, type Hook, type TestFleet, type TestFleetOptions } from './fleet.ts';

/** The process is gone: nothing after this happens. */
class Died extends Error {
  override readonly name = 'Died';
}

export interface CrashTest {
  readonly options?: TestFleetOptions;
  /** Brings the fleet to where the work begins. */
  arrange(fleet: TestFleet): Promise<unknown>;
  /** The work that is cut short. */
  act(fleet: TestFleet): Promise<unknown>;
  /** What happens before the fleet is expected to be sound, e.g. the worker's next turn and the time that bytes wait. */
  settle?(fleet: TestFleet): Promise<unknown>;
  /** What every key must read as in the end; null for a deleted one. */
  readonly contents: Readonly<Record<string, string | null>>;
  /** How many calls `npm test` goes on by in each of the four ways [12]. */
  readonly quickStep?: number;
  /** Further expectations once the fleet has converged. */
  check?(fleet: TestFleet): unknown;
}

/** `dies` nothing after the call happens · `fails` only this one call is answered with an error. */
const manners = ['dies', 'fails'] as const;
const times = ['before', 'after'] as const;

/**
 * Cuts the work short at every single port call, before and after its effect, by the end of the process and by an error of
 * that one call (`npm test`: every third call in one of these four ways); after each, lets the workers run on and checks that nothing is lost and the fleet converges.
 *
 * @returns how many port calls the work makes when nothing cuts it short
 */
export async function crashEverywhere(test: CrashTest): Promise<number> {
  const calls = await cutAt(test, { manner: 'dies', phase: 'before', call: Number.POSITIVE_INFINITY });
  const step = isWhole ? 1 : (test.quickStep ?? 12);
  for (const manner of manners) {
    for (const phase of times) {
      // The four ways begin at different calls, so that together they meet many.
      const way = 2 * manners.indexOf(manner) + times.indexOf(phase);
      const first = 1 + Math.floor((way * step) / 4);
      for (let call = first; call <= calls; call += step) await cutAt(test, { manner, phase, call });
    }
  }
  return calls;
}

interface Cut {
  readonly manner: (typeof manners)[number];
  readonly phase: (typeof times)[number];
  /** Counted from 1. */
  readonly call: number;
}

async function cutAt(test: CrashTest, cut: Cut): Promise<number> {
  const fleet = await createTestFleet(test.options);
  await test.arrange(fleet);
  let calls = 0;
  let where = 'nothing';
  let isDead = false;
  const strike = (port: string, method: string): never => {
    where = `${port}.${method}`;
    isDead = cut.manner === 'dies';
    if (isDead) throw new Died(`died ${cut.phase} ${where}`);
    throw port === 'store' ? new StoreError('unanswered', 'no answer') : new BackendError('timeout', port, 'no answer');
  };
  const before: Hook = ({ port, method }) => {
    if (isDead) throw new Died('dead already');
    calls += 1;
    if (cut.phase === 'before' && calls === cut.call) strike(port, method);
  };
  const after: Hook = ({ port, method }) => {
    if (isDead) throw new Died('dead already');
    if (cut.phase === 'after' && calls === cut.call) strike(port, method);
  };
  Object.assign(fleet, { before, after });
  try {
    await test.act(fleet);
  } catch (error) {
    if (!(error instanceof Died) && !(error instanceof StoreError)) throw error;
  }
  Object.assign(fleet, { before: undefined, after: undefined });
  try {
    await test.settle?.(fleet);
    await converge(fleet);
    await expectSound(fleet, test.contents);
    await test.check?.(fleet);
  } catch (error) {
    const told = `${cut.phase} the effect of call ${cut.call} (${where}), the process ${cut.manner === 'dies' ? 'dying' : 'seeing an error'}`;
    throw new Error(`The fleet is not sound after a crash ${told}: ${(error as Error).message}`, { cause: error });
  }
  return calls;
}

const upkeep = ['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'] as const;

/** Lets the workers run until nothing is left to do, sweeps, and lets them run on. */
export async function converge(fleet: TestFleet): Promise<void> {
  await runUntilQuiet(fleet);
  fleet.clock.advance(2 * 3_600_000);
  await fleet.tick('reconciler');
  await runUntilQuiet(fleet);
}

async function runUntilQuiet(fleet: TestFleet): Promise<void> {
  const stepMs = 10 * 60_000;
  for (let step = 0; step < 24; step += 1) {
    // Longer than a lease, a claim, a grace and an open breaker.
    fleet.clock.advance(stepMs);
    const outcomes: string[] = [];
    for (const name of upkeep) outcomes.push((await fleet.tick(name)).outcome);
    if (fleet.queue().length === 0 && outcomes.every((outcome) => outcome === 'empty')) return;
  }
}

/** Nothing lost, everything at its factor, every byte named, ledger exact, queue empty. */
export async function expectSound(fleet: TestFleet, contents: Readonly<Record<string, string | null>>): Promise<void> {
  for (const [key, content] of Object.entries(contents)) {
    expect(await fleet.read(key), `content of ${key}`).toBe(content);
    if (content === null) continue;
    const copies = fleet.copiesOf(key);
    expect(Object.values(copies), `copies of ${key}`).toEqual(Object.keys(copies).map(() => content));
  }
  expect((await fleet.recount()).differences).toEqual([]);
  expect(fleet.queue()).toEqual([]);
  for (const name of Object.keys(fleet.backends))
    expect(fleet.keysOn(name), `bytes on ${name}`).toEqual(named(fleet, name));
  for (const name of upkeep) expect(await fleet.tick(name)).toMatchObject({ worker: name, outcome: 'empty' });
}

function named(fleet: TestFleet, backend: string): string[] {
  return [...fleet.store.allObjects()]
    .flatMap((entry) => {
      const copyId = entry.kind === 'object' ? entry.copies[backend] : undefined;
      return copyId === undefined ? [] : [copyId === '' ? entry.key : `${entry.key}!${copyId}`];
    })
    .sort();
}
