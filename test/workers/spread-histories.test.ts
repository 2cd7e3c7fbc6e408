import { expect, test } from 'vitest';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { drain } from '../../lib/operations/drain.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import { readFleet, standingOf } from '../../lib/store/fleet-view.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet, seeded, type TestFleet } from '../support/fleet.ts';

/** Three backends at two providers: the first letter of a name is its provider. */
const names = ['a1', 'a2', 'b1'] as const;
type Name = (typeof names)[number];
const policies = { default: { factor: 2, spreadOver: 'provider' } };
const minuteMs = 60_000;
/** Whatever is put fits where nothing else is put in the same round, and nowhere that is full. */
const contentBytes = 10;

const workers: readonly WorkerName[] = [
  'replicator',
  'over-replication-cleaner',
  'rebalancer',
  'cleanup-queue',
  'pending-reaper',
];

/** A fleet under outages, quotas and drains, and what is so of it: told here without any code that plans by it. */
interface History {
  readonly fleet: TestFleet;
  readonly unreachable: Set<Name>;
  readonly full: Set<Name>;
  readonly draining: Set<Name>;
  /** What was done to a record that nobody may do. */
  readonly violations: string[];
}

const providersOf = (copies: readonly string[]) => new Set(copies.map((name) => name[0]));

function objectsOf({ fleet }: History): ObjectRecord[] {
  return [...fleet.store.allObjects()].filter((entry) => entry.kind === 'object');
}

/** Copies that the policy counts: not those that are to leave. */
function staying({ draining }: History, { copies }: ObjectRecord): string[] {
  return Object.keys(copies).filter((name) => !draining.has(name as Name));
}

async function begin(seed: number): Promise<History> {
  const fleet = await createTestFleet({
    seed,
    backends: entries(new Map()),
    policies,
    env: { REBALANCER_STRATEGY: seed % 2 === 0 ? 'spread' : 'pack', REBALANCER_THRESHOLD: '0.05' },
  });
  const history: History = {
    fleet,
    unreachable: new Set(),
    full: new Set(),
    draining: new Set(),
    violations: [],
  };
  let before = recordsOf(fleet);
  fleet.before = ({ port, method }) => {
    if (history.unreachable.has(port as Name)) throw new BackendError('unreachable', port, 'no connection');
    if (port === 'store' && method === 'transact') before = recordsOf(fleet);
  };
  fleet.after = ({ port, method }) => {
    if (port !== 'store' || method !== 'transact') return;
    for (const [key, now] of recordsOf(fleet)) judge(history, before.get(key), now);
  };
  return history;
}

function recordsOf(fleet: TestFleet): Map<string, ObjectRecord> {
  const entries = [...fleet.store.allObjects()].filter((entry) => entry.kind === 'object');
  return new Map(entries.map((entry) => [entry.key, entry]));
}

/** Whoever changes a record leaves as many copies as are needed, at as many providers as before. */
function judge(history: History, before: ObjectRecord | undefined, now: ObjectRecord): void {
  if (before === undefined || before.generation !== now.generation) return;
  const [was, is] = [staying(history, before), staying(history, now)];
  if (is.length >= Math.min(2, was.length) && providersOf(is).size >= providersOf(was).size) return;
  const [from, to] = [before, now].map(({ copies }) => Object.keys(copies).join('+'));
  history.violations.push(`${now.key}: ${from} -> ${to} while ${[...history.draining].join(', ')} drain`);
}

function entries(quotas: ReadonlyMap<string, number>) {
  return names.map((name) => ({ name, labels: { provider: name[0]! }, quotaBytes: quotas.get(name) ?? 0 }));
}

/** A full backend has room for no content; one that is not, for all of them. */
async function apply({ fleet, full }: History): Promise<void> {
  const view = await readFleet(fleet.store, fleet.clock.now());
  const quotaOf = (name: Name) => (full.has(name) ? Math.max(1, view.usedBytes(name)) : 1_000_000);
  await fleet.apply({ backends: entries(new Map(names.map((name) => [name, quotaOf(name)]))), policies });
}

/** Backends that answer, and are not taken for unreachable. */
async function answering({ fleet, unreachable }: History): Promise<Name[]> {
  const now = fleet.clock.now();
  const view = await readFleet(fleet.store, now);
  return names.filter((name) => standingOf(view, name, now, 600_000).isReachable && !unreachable.has(name));
}

/** Of these, those that take copies all through a tick. */
async function able(history: History): Promise<Name[]> {
  const { full, draining } = history;
  return (await answering(history)).filter((name) => !full.has(name) && !draining.has(name));
}

/** After a tick of the replicator: where a place at another provider was free all the while, copies stand apart. */
async function replicate(history: History): Promise<void> {
  const { fleet } = history;
  const [takers, sources] = [await able(history), await answering(history)];
  const objects = objectsOf(history);
  const report = await fleet.tick('replicator');
  for (const { key, generation } of objects) {
    const now = fleet.object(key);
    const isReadable = Object.keys(now.copies).some((name) => sources.includes(name as Name));
    if (now.generation !== generation || !isReadable) continue;
    const held = staying(history, now);
    const could = providersOf([...held, ...takers]).size;
    const says = `${key} on ${Object.keys(now.copies)}; free: ${takers}; ${JSON.stringify(report.reasons)}`;
    expect(providersOf(held).size, says).toBe(could);
    expect(held.length, says).toBeGreaterThanOrEqual(Math.min(2, new Set([...held, ...takers]).size));
  }
}

const steps: readonly ((history: History, pick: <T>(of: readonly T[]) => T) => Promise<unknown>)[] = [
  async (history, pick) => {
    const { fleet } = history;
    // It goes by the fleet as it is.
    fleet.clock.advance(10_000);
    const takers = await able(history);
    const copies = pick([1, 2]);
    const key = `k${pick([1, 2, 3, 4, 5, 6])}`;
    const put = await fleet.client.put(key, 'x'.repeat(contentBytes), { copies }).catch(() => undefined);
    if (put === undefined || copies < 2) return;
    const held = Object.keys(fleet.object(key).copies);
    expect(providersOf(held).size, `${key} was put on ${held}; free: ${takers}`).toBe(
      Math.min(2, providersOf([...takers, ...held]).size),
    );
  },
  async ({ unreachable }, pick) => {
    const name = pick(names);
    if (!unreachable.delete(name)) unreachable.add(name);
  },
  async (history, pick) => {
    const name = pick(names);
    if (!history.full.delete(name)) history.full.add(name);
    await apply(history);
  },
  async ({ fleet, draining }, pick) => {
    const name = pick(names);
    const deps = { ...fleet.deps, clock: fleet.operatorClock };
    if (draining.has(name)) {
      draining.delete(name);
      await undrain(deps, name);
    } else if ((await drain(deps, name)).outcome === 'draining') draining.add(name);
  },
  async ({ fleet }, pick) => fleet.clock.advance(pick([1, 5, 12]) * minuteMs),
  async ({ fleet }, pick) => fleet.tick(pick(workers)),
];

test.each(Array.from({ length: isWhole ? 60 : 12 }, (_, i) => i + 1))(
  'three backends at two providers: whatever fails, fills up or leaves, copies stand apart one tick after they can (history %i) [copies-kept-apart]',
  async (seed) => {
    const random = seeded(seed);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
    const history = await begin(seed);
    const { fleet, unreachable, full, draining } = history;
    for (let round = 0; round < 40; round += 1) {
      await pick(steps)(history, pick);
      expect(history.violations).toEqual([]);
      if (round % 2 === 0) await replicate(history);
    }
    for (const name of [...draining]) await undrain({ ...fleet.deps, clock: fleet.operatorClock }, name);
    for (const all of [unreachable, full, draining]) all.clear();
    await apply(history);
    await fleet.settle(workers, 120);
    expect(history.violations).toEqual([]);
    for (const { key, copies } of objectsOf(history)) {
      expect(Object.keys(copies), key).toHaveLength(2);
      expect(providersOf(Object.keys(copies)).size, `${key} on ${Object.keys(copies)}`).toBe(2);
      expect(await fleet.read(key)).toBe('x'.repeat(contentBytes));
    }
    expect((await fleet.recount()).differences).toEqual([]);
  },
);
