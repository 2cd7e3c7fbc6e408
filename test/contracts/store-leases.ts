import { describe, expect, test } from 'vitest';
import type { Store } from '../../lib/store/port.ts';
import { inMonth, usageOf } from '../support/usage.ts';
import { newToken } from './store-fixtures.ts';

const ask = (holder: string, now: number, expiresAt: number, part = '0/1') => ({
  worker: 'replicator',
  part,
  holder,
  now,
  expiresAt,
});

/** What a store must do with leases and usage. */
export function leasesContract(fresh: () => Promise<Store>): void {
  describe('leases', () => {
    test('a free lease is taken at epoch 1', async () => {
      const store = await fresh();
      const lease = { worker: 'replicator', part: '0/1', holder: 'a', epoch: 1, expiresAt: 100 };
      expect(await store.acquireLease(ask('a', 0, 100))).toEqual(lease);
      expect(await store.leases('replicator')).toEqual([lease]);
    });

    test('a lease held by another is busy until it expires, and stays as it is', async () => {
      const store = await fresh();
      await store.acquireLease(ask('a', 0, 100));
      expect(await store.acquireLease(ask('b', 99, 200))).toBeNull();
      expect(await store.leases('replicator')).toMatchObject([{ holder: 'a', epoch: 1, expiresAt: 100 }]);
      expect(await store.acquireLease(ask('b', 100, 200))).toMatchObject({ holder: 'b', epoch: 2, expiresAt: 200 });
    });

    test('a holder takes its own lease again, at the next epoch', async () => {
      const store = await fresh();
      await store.acquireLease(ask('a', 0, 100));
      expect(await store.acquireLease(ask('a', 1, 200))).toMatchObject({ holder: 'a', epoch: 2, expiresAt: 200 });
    });

    test('cursor and last outcome survive from holder to holder', async () => {
      const store = await fresh();
      const lease = (await store.acquireLease(ask('a', 0, 100)))!;
      const last = { outcome: 'success', counts: [1, 2] };
      expect(await store.updateLease(lease, { cursor: 'b2/é', last })).toBe(true);
      const next = await store.acquireLease(ask('b', 100, 200));
      expect(next).toEqual({ ...ask('b', 0, 200), now: undefined, epoch: 2, cursor: 'b2/é', last });
    });

    test('a release lets another in at the same moment', async () => {
      const store = await fresh();
      const lease = (await store.acquireLease(ask('a', 0, 100)))!;
      expect(await store.updateLease(lease, { expiresAt: 50 })).toBe(true);
      expect(await store.acquireLease(ask('b', 50, 200))).toMatchObject({ holder: 'b', epoch: 2 });
    });

    test('an update under an older epoch is refused and changes nothing', async () => {
      const store = await fresh();
      const old = (await store.acquireLease(ask('a', 0, 100)))!;
      const now = (await store.acquireLease(ask('b', 100, 200)))!;
      expect(await store.updateLease(old, { cursor: 'stale', expiresAt: 9 })).toBe(false);
      expect(await store.updateLease({ ...now, holder: 'c' }, { cursor: 'stale' })).toBe(false);
      expect(await store.updateLease({ ...now, worker: 'nobody' }, { cursor: 'stale' })).toBe(false);
      expect(await store.leases('replicator')).toEqual([now]);
      expect(await store.leases('nobody')).toEqual([]);
    });

    test('an update of nothing says whether the lease is still held', async () => {
      const store = await fresh();
      const lease = (await store.acquireLease(ask('a', 0, 100)))!;
      expect(await store.updateLease(lease, {})).toBe(true);
      expect(await store.leases('replicator')).toEqual([lease]);
    });

    test('the parts of a worker have leases of their own, and no other worker\u2019s', async () => {
      const store = await fresh();
      await store.acquireLease(ask('a', 0, 100, '0/2'));
      await store.acquireLease(ask('b', 0, 100, '1/2'));
      await store.acquireLease({ ...ask('c', 0, 100), worker: 'scrubber' });
      const leases = await store.leases('replicator');
      expect(leases.map(({ part, holder }) => [part, holder])).toEqual([
        ['0/2', 'a'],
        ['1/2', 'b'],
      ]);
    });

    test('of many that ask at once, one gets the lease [one-lease-holder]', async () => {
      const store = await fresh();
      const holders = Array.from({ length: 10 }, (_, i) => `h${i}`);
      const answers = await Promise.all(holders.map((holder) => store.acquireLease(ask(holder, 0, 100))));
      expect(answers.filter((lease) => lease !== null)).toHaveLength(1);
    });
  });

  describe('usage', () => {
    const spent = usageOf({ requests: 1, egressBytes: 20, ingressBytes: 300 });

    test('additions sum up per backend and month', async () => {
      const store = await fresh();
      await store.addUsage('2024-01', { b2: spent, oci: spent }, newToken());
      await store.addUsage('2024-01', { b2: spent }, newToken());
      await store.addUsage('2024-02', { b2: spent }, newToken());
      expect(await store.usage(inMonth('2024-01'), ['b2', 'oci', 'cold', 'b2'])).toEqual(
        new Map([
          ['b2', usageOf({ requests: 2, egressBytes: 40, ingressBytes: 600 })],
          ['oci', spent],
        ]),
      );
      expect(await store.usage(inMonth('2024-02'), ['b2'])).toEqual(new Map([['b2', spent]]));
      expect(await store.usage(inMonth('2024-03'), ['b2'])).toEqual(new Map());
      expect(await store.usage(inMonth('2024-01'), [])).toEqual(new Map());
    });

    test('a repeated token adds once', async () => {
      const store = await fresh();
      const token = newToken();
      await store.addUsage('2024-01', { b2: spent, oci: spent }, token);
      await store.addUsage('2024-01', { b2: spent, oci: spent }, token);
      expect(await store.usage(inMonth('2024-01'), ['b2'])).toEqual(new Map([['b2', spent]]));
    });

    test('nothing spent is nothing written', async () => {
      const store = await fresh();
      await store.addUsage('2024-01', {}, newToken());
      expect(await store.usage(inMonth('2024-01'), ['b2'])).toEqual(new Map());
    });
  });
}
