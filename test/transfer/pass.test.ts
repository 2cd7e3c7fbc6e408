import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createAdmission } from '../../lib/base/admission.ts';
import { createPartBuffers } from '../../lib/transfer/big/part-buffers.ts';
import { runPass } from '../../lib/transfer/big/pass.ts';
import { nativeHash } from '../../lib/transfer/running-hash.ts';

const partBytes = 1000;
const partCount = 60;

/** A link of so many bytes a millisecond, which all that are on their way share, with a pause before each. Time is its own. */
function createLink(rate: number, latencyMs: number) {
  const carried = new Set<{ latencyMs: number; bytes: number; arrived: () => void }>();
  let now = 0;
  const dueMs = (one: { latencyMs: number; bytes: number }, sharing: number) =>
    one.latencyMs > 0 ? one.latencyMs : (one.bytes * sharing) / rate;
  return {
    now: () => now,
    isIdle: () => carried.size === 0,
    carry: (bytes: number) =>
      new Promise<void>((arrived) => {
        carried.add({ latencyMs, bytes, arrived });
      }),
    /** Until something happens. */
    advance() {
      const sharing = [...carried].filter((one) => one.latencyMs <= 0).length;
      const ms = Math.min(...[...carried].map((one) => dueMs(one, sharing)));
      now += ms;
      for (const one of carried) {
        if (one.latencyMs > 0) one.latencyMs -= ms;
        else one.bytes -= (ms * rate) / sharing;
        if (one.latencyMs > 1e-6 || one.bytes > 1e-6) continue;
        carried.delete(one);
        one.arrived();
      }
    },
  };
}

/** Runs a pass over it that may begin parts until a moment; tells when the last bytes arrived. */
async function passOver(link: ReturnType<typeof createLink>, endsAt: number, slowPart = 0) {
  const begun: { readonly part: number; readonly doneBefore: number }[] = [];
  let done = 0;
  let ended = false;
  const run = runPass(
    {
      clock: { now: link.now, sleep: async () => {} },
      sizeBytes: partBytes * partCount,
      partSizeBytes: partBytes,
      partsDone: 0,
      width: 8,
      hash: nativeHash(),
      buffers: createPartBuffers(createAdmission(partBytes * 16), partBytes * 16),
      mayBegin: (expectedMs, isFirst) => isFirst || link.now() + expectedMs < endsAt,
      read: async ([first]) => {
        const part = first / partBytes + 1;
        begun.push({ part, doneBefore: done });
        await link.carry(part === slowPart ? partBytes * 20 : partBytes);
      },
      write: () => link.carry(partBytes),
      reached: (partsDone) => {
        done = partsDone;
      },
    },
    new AbortController().signal,
  ).finally(() => {
    ended = true;
  });
  while (!ended) {
    for (let turn = 0; turn < 20 && !ended; turn += 1) await new Promise(setImmediate);
    if (!link.isIdle()) link.advance();
  }
  return { partsDone: await run, begun, lastAt: link.now() };
}

test('however fast the link and short the time, what was begun has ended before the time is over [ticks-leave-nothing]', async () => {
  const links = fc.record({
    rate: fc.double({ min: 0.5, max: 500, noNaN: true }),
    latencyMs: fc.integer({ min: 0, max: 300 }),
    parts: fc.double({ min: 4, max: 40, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(links, async ({ rate, latencyMs, parts }) => {
      const aloneMs = 2 * (partBytes / rate + latencyMs);
      const { partsDone, begun, lastAt } = await passOver(createLink(rate, latencyMs), aloneMs * parts);
      expect(lastAt).toBeLessThanOrEqual(aloneMs * parts);
      expect(partsDone).toBe(begun.length);
      expect(partsDone).toBeGreaterThanOrEqual(2);
    }),
    // Parts that end all at once leave the link to the next alone, which the pauses then rule.
    { numRuns: 40, examples: [[{ rate: 16.181684494319164, latencyMs: 294, parts: 12.144894216887025 }]] },
  );
});

test('no part is begun further than the width beyond those done, though one in between is slow', async () => {
  const { partsDone, begun } = await passOver(createLink(10, 5), Number.POSITIVE_INFINITY, 12);
  expect(partsDone).toBe(partCount);
  expect(Math.max(...begun.map(({ part, doneBefore }) => part - doneBefore))).toBe(8);
});
