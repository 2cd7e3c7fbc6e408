import { expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import type { Clock } from '../../lib/base/clock.ts';
import { type Rates, throttled } from '../../lib/fleet/throttle.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';

/** A clock on which whoever waits longest moves time on: many may wait at once. */
function createClock(): Clock & { run<T>(work: Promise<T>): Promise<T> } {
  let now = 0;
  const sleepers: { at: number; wake: () => void }[] = [];
  return {
    now: () => now,
    sleep: (ms) => new Promise((wake) => sleepers.push({ at: now + ms, wake })),
    async run(work) {
      let isOver = false;
      const done = work.finally(() => {
        isOver = true;
      });
      done.catch(() => {});
      while (!isOver) {
        for (let i = 0; i < 20; i += 1) await Promise.resolve();
        sleepers.sort((a, b) => a.at - b.at);
        const next = sleepers.shift();
        if (next === undefined) await new Promise((go) => setImmediate(go));
        else {
          now = Math.max(now, next.at);
          next.wake();
        }
      }
      return done;
    },
  };
}

function open(rates: Rates, mayAsk = () => true) {
  const clock = createClock();
  const memory = createMemoryBackend({ name: 'a', clock });
  let current = rates;
  const backend = throttled(memory, clock, { rates: () => current, mayAsk });
  return { clock, memory, backend, change: (to: Rates) => (current = to) };
}

const mib = 2 ** 20;

test('bytes pass no faster than allowed, both directions and all bodies together [rates-hold]', async () => {
  const { clock, memory, backend } = open({ bytesPerSecond: mib, requestsPerSecond: 0 });
  memory.putNow('there', Buffer.alloc(4 * mib));
  const put = (storageKey: string) =>
    backend.put({ storageKey, sizeBytes: 3 * mib, body: bodyOf(Buffer.alloc(3 * mib)) });
  const get = async () => collect((await backend.get('there')).body);
  await clock.run(Promise.all([put('x'), put('y'), get()]));
  expect(clock.now() / 1000).toBeGreaterThanOrEqual(9.8);
  expect(clock.now() / 1000).toBeLessThanOrEqual(10.1);
});

test('requests are asked no faster than allowed [rates-hold]', async () => {
  const { clock, backend } = open({ bytesPerSecond: 0, requestsPerSecond: 5 });
  await clock.run(Promise.all(Array.from({ length: 20 }, () => backend.head('x'))));
  expect(clock.now() / 1000).toBeCloseTo(4, 0);
});

test('a change of the rates is felt at once, and no rate is no wait', async () => {
  const { clock, backend, change } = open({ bytesPerSecond: 0, requestsPerSecond: 1 });
  await clock.run(Promise.all([backend.head('x'), backend.head('x')]));
  const before = clock.now();
  change({ bytesPerSecond: 0, requestsPerSecond: 0 });
  await Promise.all(Array.from({ length: 100 }, () => backend.head('x')));
  expect(clock.now()).toBe(before);
});

test('a wait that is cancelled is a cancelled request', async () => {
  const memory = createMemoryBackend({ name: 'a', clock: { now: () => 0, sleep: async () => {} } });
  const clock: Clock = {
    now: () => 0,
    sleep: (_ms, signal) => new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
  };
  const backend = throttled(memory, clock, {
    rates: () => ({ bytesPerSecond: 0, requestsPerSecond: 1 }),
    mayAsk: () => true,
  });
  const stop = new AbortController();
  const waiting = backend.head('x', stop.signal);
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ kind: 'cancelled', backend: 'a' });
});

test('what may not be asked is not sent, not even after its turn was waited for', async () => {
  let mayAsk = true;
  const { clock, backend, memory } = open({ bytesPerSecond: 0, requestsPerSecond: 1 }, () => mayAsk);
  await clock.run(backend.head('x'));
  const waiting = clock.run(backend.put({ storageKey: 'x', body: bodyOf(Buffer.from('x')), sizeBytes: 1 }));
  mayAsk = false;
  await expect(waiting).rejects.toMatchObject({ kind: 'cancelled', backend: 'a' });
  expect(memory.peek('x')).toBeUndefined();
  mayAsk = true;
  expect(await clock.run(backend.head('x'))).toBeNull();
});
