import { expect, test } from 'vitest';
import type { ConcernFigures } from '../../lib/console/protocol.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { consoleOver } from './kit.ts';

async function concernsOf(fleet: TestFleet): Promise<readonly ConcernFigures[]> {
  const lab = await consoleOver(fleet);
  try {
    return (await lab.overview()).concerns;
  } finally {
    await lab.close();
  }
}

async function quietFleet(): Promise<TestFleet> {
  const fleet = await createTestFleet({
    backends: [{ name: 'a', quotaBytes: 1_000, limits: { egressBytes: 1_000_000 } }, 'b', 'c'],
  });
  await fleet.client.put('one', 'one');
  await fleet.settle();
  return fleet;
}

const row = (sk: string, data: Record<string, unknown>) => ({ pk: 'fleet', sk, version: 1, data });

test('where nothing needs a look, nothing is said to', async () => {
  expect(await concernsOf(await quietFleet())).toEqual([]);
});

test.each<[string, (fleet: TestFleet) => Promise<unknown>, Partial<ConcernFigures>]>([
  [
    'a backend that does not answer',
    (fleet) => {
      const data = { failures: 5, openedAt: fleet.clock.now(), unhealthySince: fleet.clock.now(), reason: 'no route' };
      return fleet.store.write({ kind: 'row', put: row('breaker/b', data), expect: 'absent' });
    },
    { tone: 'bad', sentence: 'b does not answer', why: 'no route', href: '#/backend/b' },
  ],
  [
    'a backend that takes no writes',
    (fleet) => {
      const data = { since: 1, attempts: 1, retryAt: 2, message: 'AccessDenied' };
      return fleet.store.write({ kind: 'row', put: row('refusing/b', data), expect: 'absent' });
    },
    { tone: 'bad', sentence: 'b takes no writes', why: 'AccessDenied' },
  ],
  [
    'deletions that were given up',
    async (fleet) =>
      fleet.store.apply([{ kind: 'add', pk: 'fleet', sk: 'queue/dead/a#0', add: { objects: 2, bytes: 8 } }]),
    { tone: 'bad', sentence: '2 deletions given up after many attempts', href: '#/queue?state=dead' },
  ],
  [
    'files whose object is unknown',
    (fleet) => {
      const data = { number: 1, startedAt: 1, isRunning: false, completedAt: 2, unrecorded: 3 };
      return fleet.store.write({ kind: 'row', put: row('pass/c', data), expect: 'absent' });
    },
    { tone: 'warn', sentence: '3 files of ours on c whose object is unknown', href: '#/backend/c' },
  ],
  [
    'a quota that is nearly used up',
    async (fleet) => fleet.store.apply([{ kind: 'add', pk: 'fleet', sk: 'used/a#0', add: { objects: 0, bytes: 960 } }]),
    { tone: 'warn', sentence: 'a has less than 5 % of its quota left' },
  ],
  [
    'a limit that is spent',
    (fleet) =>
      fleet.store.addUsage(
        new Date(fleet.clock.now()).toISOString().slice(0, 13),
        { a: { requests: 1, classA: 0, classB: 1, egressBytes: 1_000_000, ingressBytes: 0 } },
        'token',
      ),
    { tone: 'bad', sentence: 'a has spent its egress of the month' },
  ],
  [
    'objects under a key that the file does not list',
    async (fleet) => fleet.store.apply([{ kind: 'add', pk: 'fleet', sk: 'key/lost#0', add: { objects: 4, bytes: 8 } }]),
    { tone: 'bad', sentence: '4 objects encrypted with key lost, which the fleet file does not list' },
  ],
  [
    'a paused worker',
    (fleet) =>
      fleet.store.write({
        kind: 'row',
        put: row('settings', { overrides: {}, paused: ['scrubber'] }),
        expect: 'absent',
      }),
    { tone: 'warn', sentence: 'The scrubber is paused', href: '#/workers' },
  ],
])('%s needs a look', async (_, arrange, expected) => {
  const fleet = await quietFleet();
  await arrange(fleet);
  expect(await concernsOf(fleet)).toEqual([expect.objectContaining(expected)]);
});
