import { expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import type { BackendError } from '../../lib/fleet/backend.ts';
import { createPace } from '../../lib/fleet/s3/pace.ts';
import { createManualClock } from '../support/fleet.ts';
import { startS3 } from './s3-kit.ts';

test('a pace lets requests pass at will until the backend complains, and then half as many, and twice as many every ten seconds [slow-down-slows]', async () => {
  const clock = createManualClock();
  const pace = createPace(clock);
  const perSecond = async (requests: number) => {
    const startedAt = clock.now();
    for (let i = 0; i < requests; i += 1) await pace.turn();
    return (requests * 1000) / (clock.now() - startedAt);
  };
  expect(await perSecond(100)).toBe(Number.POSITIVE_INFINITY);
  for (let i = 0; i < 5; i += 1) pace.slowDown(); // one burst is one complaint
  const before = await perSecond(50);
  expect(before).toBeGreaterThan(45);
  expect(before).toBeLessThan(60);
  clock.advance(10_000);
  expect(await perSecond(100)).toBeGreaterThan(1.9 * before);
});

test('a pace never falls below one request a second, and a wait for a turn can be cancelled', async () => {
  const clock = createManualClock();
  const pace = createPace(clock);
  await pace.turn();
  pace.slowDown();
  const startedAt = clock.now();
  for (let i = 0; i < 3; i += 1) await pace.turn();
  expect(clock.now() - startedAt).toBeLessThanOrEqual(3_000);
  const waiting = createPace({
    now: () => 0,
    sleep: (_ms, signal) =>
      new Promise((_resolve, reject) => signal!.addEventListener('abort', () => reject(signal!.reason))),
  });
  waiting.slowDown();
  await waiting.turn();
  const cancel = new AbortController();
  const turn = waiting.turn(cancel.signal);
  cancel.abort(new Error('out of time'));
  await expect(turn).rejects.toThrow('out of time');
});

test.each([
  ['small', 1_000],
  ['streamed', 300_000],
])('a backend that throttles %s writes is asked less, by whatever it refused', async (_what, sizeBytes) => {
  const clock = createManualClock();
  const { server, connect, close } = await startS3(clock);
  const backend = connect({ name: 'busy', attempts: 1 });
  try {
    server.faults.add({ kind: 'throttle', perSecond: 20 });
    const kinds: string[] = [];
    const startedAt = clock.now();
    for (let i = 0; i < 200; i += 1) {
      const request = { storageKey: `k${i}`, sizeBytes, body: bodyOf(Buffer.alloc(sizeBytes)) };
      const kind = await backend.put(request).then(
        () => 'stored',
        (error: BackendError) => error.kind,
      );
      kinds.push(kind);
    }
    const refused = kinds.filter((kind) => kind === 'throttled').length;
    expect(kinds.filter((kind) => kind === 'stored')).toHaveLength(200 - refused);
    // Without a pace, all but the first twenty: time would not pass.
    expect(refused).toBeLessThan(40);
    expect(200 / ((clock.now() - startedAt) / 1000)).toBeLessThan(30);
  } finally {
    await close();
  }
});
