import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createTestFleet, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';
import { allowSmallParts } from '../support/small-parts.ts';

const hourMs = 3_600_000;
const encryption = { rawKeyEnv: 'FLEET_KEY' };
const policies = { default: { factor: 2 }, sealed: { prefix: 'sealed/', factor: 2, encrypt: true } };

// Parts of a few bytes: what takes three ticks with gigabytes takes three ticks with these.
allowSmallParts();

/** A fleet whose scrub cycle takes a day, with these contents in its encrypting policy and one outside of it. */
async function sealed(contents: readonly Buffer[], options: TestFleetOptions = {}): Promise<TestFleet> {
  const env = { FLEET_KEY: randomBytes(32).toString('base64'), SCRUBBER_CYCLE_DAYS: '1' };
  const fleet = await createTestFleet({ backends: ['a', 'b'], encryption, policies, env, ...options });
  await fleet.client.put('open/x', 'open');
  for (const [i, content] of contents.entries()) await fleet.client.put(`sealed/${i}`, content);
  await fleet.settle(['replicator'], 3);
  return fleet;
}

interface Ages {
  readonly unverified: number;
  readonly unchecked: number;
  readonly reasons: Readonly<Record<string, number>>;
}

/** Hourly ticks; in days, how old what was read and what was deciphered longest ago may be, and what was found of copies. */
async function scrubFor(fleet: TestFleet, days: number, deadlineMs = 300_000): Promise<Ages> {
  const reasons: Record<string, number> = {};
  let figures: Readonly<Record<string, number>> = {};
  for (let hour = 0; hour < 24 * days; hour += 1) {
    const report = await fleet.tick('scrubber', { deadline: fleet.clock.now() + deadlineMs });
    if (report.figures.oldestUnverifiedSeconds !== undefined) figures = report.figures;
    for (const [reason, times] of Object.entries(report.reasons)) reasons[reason] = (reasons[reason] ?? 0) + times;
    fleet.clock.advance(hourMs);
  }
  const daysOf = (name: string) => figures[name]! / 86_400;
  return {
    unverified: daysOf('oldestUnverifiedSeconds'),
    unchecked: daysOf('oldestPlaintextUncheckedSeconds'),
    reasons,
  };
}

test('where every ciphertext deciphers to what was put, its check is as young as that of the stored bytes', async () => {
  const fleet = await sealed([Buffer.from('one'), Buffer.from('two')]);
  const { unverified, unchecked } = await scrubFor(fleet, 4);
  expect(unchecked).toBe(unverified);
  expect(unchecked).toBeLessThan(1.1);
});

test('while no key is to be had the check falls behind, and catches up in one scrub cycle once there is one', async () => {
  const fleet = await sealed([Buffer.from('one')]);
  await scrubFor(fleet, 2);
  const key = fleet.env.FLEET_KEY!;
  delete fleet.env.FLEET_KEY;
  const away = await scrubFor(fleet, 5);
  expect(away.unverified).toBeLessThan(1.1);
  expect(away.unchecked).toBeGreaterThan(4.9);
  fleet.env.FLEET_KEY = key;
  expect((await scrubFor(fleet, 2)).unchecked).toBeLessThan(1.1);
});

test('other plaintext than was put counts as never deciphered: only the next put of it does', async () => {
  const fleet = await sealed([Buffer.from('one')]);
  const object = fleet.object('sealed/0');
  const wrong = { ...object.encryption!, plaintextSha256: '0'.repeat(64) };
  fleet.store.apply([{ kind: 'object', put: { ...object, encryption: wrong, rev: object.rev + 1 }, expect: object }]);
  const { unverified, unchecked, reasons } = await scrubFor(fleet, 4);
  expect(reasons['plaintext-differs']).toBeGreaterThan(0);
  expect(unverified).toBeLessThan(1.1);
  expect(unchecked).toBeGreaterThan(3.9);
  await fleet.client.put('sealed/0', 'another');
  await fleet.settle(['replicator'], 3);
  expect((await scrubFor(fleet, 2)).unchecked).toBeLessThan(1.1);
});

test('a ciphertext whose reading takes longer than a tick is verified, and said not to have been deciphered', async () => {
  const fleet = await sealed([randomBytes(6_000)], { env: { FLEET_KEY: randomBytes(32).toString('base64') } });
  Object.assign(fleet.env, { MULTIPART_ABOVE_BYTES: '1000', PART_BYTES: '100', SCRUBBER_CYCLE_DAYS: '1' });
  const backends = ['a', 'b'].map((name) => ({ name, maxBytesPerSecond: 100 }));
  await fleet.apply({ backends, policies, encryption });
  const { unverified, unchecked, reasons } = await scrubFor(fleet, 5, 20_000);
  expect(reasons['plaintext-unchecked']).toBeGreaterThan(0);
  expect(reasons['plaintext-unreadable']).toBeUndefined();
  expect(unverified).toBeLessThan(1.5);
  expect(unchecked).toBeGreaterThan(4.5);
});

test('a fleet without a key has no such figure', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'v');
  expect((await fleet.tick('scrubber')).figures).not.toHaveProperty('oldestPlaintextUncheckedSeconds');
});
