import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { collect } from '../lib/base/bytes.ts';
import * as holdfastEntry from '../lib/index.ts';
import { createMemoryFleet, type MemoryFleet } from '../lib/testing.ts';
import { createWorkers, type Workers, workerNames } from '../lib/workers.ts';

let fleet: MemoryFleet;
let workers: Workers;

beforeEach(async () => {
  fleet = await createMemoryFleet({ backends: ['a', 'b', 'c'] });
  ({ workers } = fleet);
});
afterEach(() => fleet.close());

/**
 * Every call of the worker package that Holdfast grew from: what docs/workers.md says it has become, and what that does. A row that is
 * in one of the two and not in the other fails.
 */
const calls: Readonly<Record<string, () => Promise<unknown>>> = {
  async replicate() {
    await fleet.holdfast.put('k', 'x');
    expect(await workers.replicate()).toMatchObject({ outcome: 'success', succeeded: 1 });
  },
  async replicateObject() {
    await fleet.holdfast.put('k', 'x');
    await fleet.holdfast.put('other', 'x');
    expect(await workers.replicateObject('k')).toMatchObject({ isFound: true, planned: 1, succeeded: 1, failed: 0 });
    expect(await workers.replicateObject('k')).toMatchObject({ planned: 1, skipped: 1 });
    expect(await workers.replicateObject('none')).toMatchObject({ isFound: false, planned: 0 });
    expect(await workers.countUnderReplicated()).toBe(1);
  },
  async findReplicaTarget() {
    await fleet.holdfast.put('k', 'x');
    expect(await workers.findReplicaTarget('k')).toEqual({ outcome: 'target', backend: 'b', others: ['c'] });
    expect(await workers.findReplicaTarget('none')).toBeNull();
  },
  async clean() {
    await fleet.holdfast.put('k', 'x', { copies: 3 });
    expect(await workers.countOverReplicated()).toBe(1);
    expect(await workers.clean()).toMatchObject({ succeeded: 1 });
    expect(await workers.countOverReplicated()).toBe(0);
  },
  async countPending() {
    expect(await workers.countPending()).toEqual({ objects: 0, bytes: 0 });
  },
  async scoreCopy() {
    const open = { configured: true, draining: false, breaker: 'closed', usedBytes: 1, limitBytes: 4 } as const;
    expect(holdfastEntry.scoreCopy(open)).toBe(2.75);
  },
  async rebalance() {
    expect(await workers.rebalance()).toMatchObject({ outcome: 'empty' });
  },
  async planPackTight() {
    expect(holdfastEntry.planPackTight({ backends: [], objects: {}, batchSize: 1 })).toEqual([]);
    expect(await workers.planMoves()).toEqual([]);
  },
  async planSpreadEven() {
    expect(holdfastEntry.planSpreadEven({ backends: [], objects: {}, batchSize: 1 })).toEqual([]);
  },
  async executeMoves() {
    const limited = await createMemoryFleet({
      backends: ['a', 'b'].map((name) => ({ name, quotaBytes: 1_000 })),
      policies: { default: { factor: 1 } },
      env: { REBALANCER_STRATEGY: 'spread' },
    });
    for (const key of ['k1', 'k2', 'k3', 'k4']) await limited.holdfast.put(key, 'x'.repeat(100));
    const moves = await limited.workers.planMoves();
    expect(moves).toEqual([expect.objectContaining({ from: 'a', to: 'b', sizeBytes: 100 }), expect.anything()]);
    expect(await limited.workers.executeMoves(moves)).toMatchObject({ planned: 2, succeeded: 2 });
    // Planned before and moved since: there is nothing to move.
    expect(await limited.workers.executeMoves(moves)).toMatchObject({ planned: 2, skipped: 2 });
    expect(await limited.workers.planMoves()).toEqual([]);
    await limited.close();
  },
  async processCleanupQueue() {
    await fleet.holdfast.put('k', 'x');
    await fleet.holdfast.delete('k');
    fleet.advance(3_600_000);
    expect(await workers.processCleanupQueue()).toMatchObject({ succeeded: 1 });
  },
  async processPendingQueue() {
    expect(await workers.processPendingQueue()).toMatchObject({ outcome: 'empty' });
  },
  async scrub() {
    await fleet.holdfast.put('k', 'x');
    expect(await workers.scrub()).toMatchObject({ failed: 0 });
    expect((await workers.scrubObject('k')).verdicts).toEqual([expect.objectContaining({ verdict: 'good' })]);
  },
  async backfill() {
    expect(await workers.backfill()).toMatchObject({ backfilled: 0 });
  },
  async reconcile() {
    fleet.backends.a!.putNow('found', Buffer.from('a file'), {});
    expect(await workers.reconcile('a')).toMatchObject({ isComplete: true, imported: 0, found: { unmarked: 1 } });
    expect(await workers.reconcile('a', { import: true })).toMatchObject({ imported: 1, missing: 0, orphans: 0 });
    expect((await collect((await fleet.holdfast.get('found'))!.body)).toString()).toBe('a file');
  },
  async unhealthyBackends() {
    expect(await workers.unhealthyBackends()).toEqual([]);
  },
  async isBackendHealthy() {
    expect(await workers.isBackendHealthy('a')).toBe(true);
    expect(await workers.isBackendHealthy('none')).toBe(false);
    expect(await workers.health()).toHaveLength(3);
  },
  async config() {
    await workers.set('REPLICATOR_BATCH_SIZE', '7');
    expect(await workers.settings()).toEqual({ overrides: { REPLICATOR_BATCH_SIZE: '7' }, paused: [] });
  },
  async setConfig() {
    await expect(workers.set('REPLICATOR_BATCH_SIZE', 'many')).rejects.toThrow('whole number');
    await expect(workers.set('NONSENSE', '1')).rejects.toThrow('is not a parameter');
    await workers.set('REPLICATOR_BATCH_SIZE', '7');
    expect(await workers.set('REPLICATOR_BATCH_SIZE', undefined)).toMatchObject({ overrides: {} });
    await workers.pause('scrubber');
    expect(await workers.scrub()).toMatchObject({ outcome: 'empty', message: 'The worker is paused' });
    expect(await workers.resume('scrubber')).toMatchObject({ paused: [] });
  },
  async admission() {
    for (const name of workerNames) {
      const { figures } = await workers.run(name);
      expect(figures.admissionRejections).toBe(0);
    }
    await workers.set('MAX_BYTES_IN_FLIGHT', '10');
    for (let i = 0; i < 5; i += 1) await fleet.holdfast.put(`k${i}`, 'x'.repeat(100));
    expect((await workers.replicate()).figures.admissionRejections).toBeGreaterThan(0);
    expect((await workers.run('scrubber')).figures.admissionRejections).toBeGreaterThan(0);
  },
  async workerNames() {
    expect(workerNames).toHaveLength(7);
  },
  async defaultTicks() {
    const { parameters } = await import('../lib/workers.ts');
    expect(parameters.CLEANUP_QUEUE_SCHEDULE!.default).toBe('rate(1 minute)');
  },
};

/** First cells of the table. */
function documented(): string[] {
  const text = readFileSync(join(import.meta.dirname, '..', 'docs', 'workers.md'), 'utf8');
  const table = text.slice(text.indexOf('| There |'));
  return [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name!);
}

test('docs/workers.md has a row for each call, and no other', () => {
  expect(documented().sort()).toEqual(Object.keys(calls).sort());
});

test('every call that a row names is made by the test of that row', () => {
  const text = readFileSync(join(import.meta.dirname, '..', 'docs', 'workers.md'), 'utf8');
  for (const [, name, row] of text.slice(text.indexOf('| There |')).matchAll(/^\| `(\w+)` \|(.*)\|$/gm)) {
    const named = [...row!.matchAll(/`workers\.(\w+)\(/g)].map(([, call]) => call!);
    for (const call of named) expect(workers).toHaveProperty(call, expect.any(Function));
    const source = calls[name!]!.toString();
    expect({ name, calls: named.filter((call) => source.includes(`.${call}(`)) }).toEqual({ name, calls: named });
    for (const [, exported] of row!.matchAll(/`(\w+)\(…\)` of `holdfast`/g)) expect(source).toContain(`.${exported}(`);
  }
});

describe('each call has an equivalent that does what it says:', () => {
  test.each(Object.keys(calls))('%s', async (name) => void (await calls[name]!()));
});

test('drains and figures of the whole fleet are calls too', async () => {
  await fleet.holdfast.put('k', 'x');
  await fleet.settle(3);
  expect(await workers.status()).toMatchObject({ objects: 1, underReplicated: 0 });
  expect(await workers.drain('a')).toMatchObject({ outcome: expect.stringMatching(/begun|draining/) });
  await fleet.settle(40);
  expect(await workers.drainStatus('a')).toMatchObject({ outcome: 'settling' });
  fleet.advance(60_000);
  expect(await workers.drainStatus('a')).toMatchObject({ outcome: 'drained' });
  expect((await workers.status()).underReplicated).toBe(0);
});

test('an embedded worker finds its fleet as the library does', () => {
  const embedded = createWorkers({
    env: { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'y' },
  });
  expect(typeof embedded.run).toBe('function');
});
