import { expect, test } from 'vitest';
import { createClient } from '../../lib/client/client.ts';
import { HoldfastError } from '../../lib/client/error.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { Backend } from '../../lib/fleet/backend.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { forget } from '../../lib/operations/forget.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import type { Change, Store } from '../../lib/store/port.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet, hooked, type TestFleet } from '../support/fleet.ts';

const single = { default: { factor: 1 } };
const without = { backends: ['b', 'c'], policies: single };
const withAll = { backends: ['a', 'b', 'c'], policies: single };
const dayMs = 24 * 3_600_000;
const upkeep = ['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'] as const;

/** The workers run on, and an operator asks now and then how the drain of a goes. */
async function workFor(fleet: TestFleet, minutes: number): Promise<void> {
  for (let minute = 0; minute < minutes; minute += 5) {
    for (const name of upkeep) await fleet.tick(name);
    await drainStatus(fleet.deps, 'a');
    fleet.clock.advance(5 * 60_000);
  }
}

/** What happens to the backend that a put writes to, in the hour that its process sleeps. */
const hours: Readonly<Record<string, (fleet: TestFleet) => Promise<unknown>>> = {
  'is drained': async (fleet) => {
    await drain(fleet.deps, 'a');
    await workFor(fleet, 60);
  },
  'is drained and dropped': async (fleet) => {
    await drain(fleet.deps, 'a');
    await workFor(fleet, 60);
    await fleet.apply(without, { park: 'none' }).catch(() => {});
  },
  'is drained, dropped and forgotten': async (fleet) => {
    await drain(fleet.deps, 'a');
    await workFor(fleet, 60);
    await fleet.apply(without);
    await forget({ ...fleet.deps, clock: fleet.operatorClock }, 'a');
  },
  'is dropped': async (fleet) => {
    await fleet.apply(without);
    await workFor(fleet, 60);
  },
  'is dropped and forgotten': async (fleet) => {
    await fleet.apply(without);
    await workFor(fleet, 30);
    await forget({ ...fleet.deps, clock: fleet.operatorClock }, 'a');
    await workFor(fleet, 30);
  },
  'is dropped and brought back': async (fleet) => {
    await fleet.apply(without);
    await workFor(fleet, 30);
    await fleet.apply(withAll);
    await workFor(fleet, 30);
  },
  'is dropped, forgotten and brought back': async (fleet) => {
    await fleet.apply(without);
    await workFor(fleet, 30);
    await forget({ ...fleet.deps, clock: fleet.operatorClock }, 'a');
    await fleet.apply(withAll);
    await workFor(fleet, 30);
  },
  'drains and takes part again': async (fleet) => {
    await drain(fleet.deps, 'a');
    await workFor(fleet, 30);
    await undrain(fleet.deps, 'a');
    await workFor(fleet, 30);
  },
};

const sealedPolicies = { default: { factor: 1, encrypt: true } };
const sealedFile = (encryption: object) => ({
  backends: ['a', 'b', 'c'],
  policies: sealedPolicies,
  encryption: encryption as Record<string, string>,
});
const [old, next] = [{ rawKeyEnv: 'OLD' }, { rawKeyEnv: 'NEW' }];

/** The key is replaced, and leaves the file as soon as it may; it may not while anything names it. */
async function rotateOut(fleet: TestFleet): Promise<void> {
  await fleet.apply(sealedFile({ ...next, decryptOnly: [old] }));
  await workFor(fleet, 30);
  await fleet.apply(sealedFile(next)).catch(() => {});
  await workFor(fleet, 60);
  await fleet.apply(sealedFile(next)).catch(() => {});
}

const keyValues = { OLD: Buffer.alloc(32, 1).toString('base64'), NEW: Buffer.alloc(32, 2).toString('base64') };

interface Freeze {
  readonly call: number;
  readonly side: 'before' | 'after';
  readonly hour: (fleet: TestFleet) => Promise<unknown>;
}

/** A client that sleeps for an hour at one of its calls; what it began otherwise sleeps with it. */
function freezingClient(fleet: TestFleet, { call, side, hour }: Freeze) {
  let calls = 0;
  let asleep: Promise<unknown> | undefined;
  const at = (when: Freeze['side']) => async () => {
    if (asleep !== undefined) return void (await asleep);
    if (when === 'before') calls += 1;
    if (when !== side || calls !== call || asleep !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    asleep = promise;
    await hour(fleet);
    resolve();
    asleep = undefined;
    calls += 1_000;
  };
  const ports = { before: () => at('before'), after: () => at('after') };
  const client = createClient({
    ...fleet.deps,
    store: hooked('store', fleet.store as Store, ports.before, ports.after),
    openBackend: async ({ name }) => hooked(name, fleet.backends[name] as Backend, ports.before, ports.after),
  });
  return { client, wasFrozen: () => calls > 1_000 };
}

/** Freezes a put at every call that it makes. Returns how many there were. */
async function freezeEverywhere(
  hour: Freeze['hour'],
  timeoutMs: number,
  options: { copies?: number; before?: string; encryption?: Record<string, string> } = {},
) {
  const { encryption, ...asked } = options;
  const told: string[] = [];
  for (const side of ['before', 'after'] as const) {
    // The quick run freezes at every third call.
    for (let call = 1; ; call += isWhole ? 1 : 3) {
      const fleet = await createTestFleet(
        encryption === undefined ? withAll : { ...sealedFile(encryption), env: keyValues },
      );
      if (options.before !== undefined) await fleet.client.put('k', options.before);
      const { client, wasFrozen } = freezingClient(fleet, { call, side, hour });
      const where = `frozen ${side} call ${call}`;
      const outcome = await client.put('k', 'content', { timeoutMs, ...asked }).then(
        () => 'acknowledged',
        (error: unknown) => {
          if (!(error instanceof HoldfastError)) throw error;
          return error.kind;
        },
      );
      if (!wasFrozen()) break;
      told.push(outcome);
      if (outcome !== 'acknowledged') continue;
      expect(await fleet.read('k'), where).toBe('content');
      const copies = Object.keys(fleet.object('k').copies).filter((name) => name !== 'a');
      expect(copies.length, where).toBeGreaterThanOrEqual((options.copies ?? 1) - 1);
      await workFor(fleet, 60);
      expect(await fleet.read('k'), `${where}, an hour later`).toBe('content');
    }
  }
  return told;
}

test.each(Object.keys(hours))(
  'a put frozen anywhere while its backend %s is acknowledged, with what it put readable then and later',
  async (hour) => {
    const told = await freezeEverywhere(hours[hour]!, dayMs);
    expect(told.length).toBeGreaterThan(isWhole ? 10 : 3);
    expect(new Set(told)).toEqual(new Set(['acknowledged']));
  },
);

test.each(Object.keys(hours))(
  'a put over an older object, frozen while its backend %s and its time runs out, is acknowledged only if it can be read',
  async (hour) => {
    const told = await freezeEverywhere(hours[hour]!, 60_000, { before: 'older' });
    if (isWhole) expect(told).toContain('acknowledged');
  },
);

test('a put of two copies, frozen while a backend is dropped, is acknowledged with two that can be read', async () => {
  const told = await freezeEverywhere(hours['is dropped']!, dayMs, { copies: 2 });
  expect(new Set(told)).toEqual(new Set(['acknowledged']));
});

test.each([dayMs, 60_000])(
  'an encrypted put frozen anywhere while its key is rotated out of the file, of %i ms, is acknowledged only if it can be read',
  async (timeoutMs) => {
    const told = await freezeEverywhere(rotateOut, timeoutMs, { encryption: old });
    expect(told).toContain('acknowledged');
    if (timeoutMs === dayMs) expect(new Set(told)).toEqual(new Set(['acknowledged']));
  },
);

test('a put whose key is out of the file by its last look is not acknowledged, however that came about', async () => {
  const fleet = await createTestFleet({ ...sealedFile({ ...next, decryptOnly: [old] }), env: keyValues });
  fleet.after = ({ port, method, args }) => {
    const isRecorded = method === 'transact' && (args[0] as readonly Change[]).some(({ kind }) => kind === 'object');
    if (port !== 'store' || !isRecorded) return;
    fleet.after = undefined;
    // No `apply` would do this: somebody puts back a table, or a clock is far off.
    const config = fleet.store.rowAt('fleet', 'config')!;
    const file = { ...(config.data.file as FleetFile), encryption: old };
    const put = { ...config, version: config.version + 1, data: { ...config.data, file } };
    fleet.store.apply([{ kind: 'row', put, expect: config.version }]);
    fleet.clock.advance(6_000);
  };
  await expect(fleet.client.put('k', 'content')).rejects.toMatchObject({ kind: 'undecided' });
  expect(fleet.object('k').encryption).toMatchObject({ keyId: 'env:NEW' });
});
