import { expect, test } from 'vitest';
import { createTurns } from '../../lib/fleet/s3/turns.ts';
import { createManualClock } from '../support/fleet.ts';

/** Takes turns until none is to be had; how many were. */
async function takeAll(turns: ReturnType<typeof createTurns>, asked = 200): Promise<number> {
  let taken = 0;
  for (let i = 0; i < asked; i += 1) void turns.take().then(() => taken++);
  await new Promise(setImmediate);
  return taken;
}

test('all turns are to be had until the backend complains; then half of those under way, and one more in each quiet second [slow-down-slows]', async () => {
  const clock = createManualClock();
  const turns = createTurns(clock, 64);
  expect(await takeAll(turns, 64)).toBe(64);
  for (let i = 0; i < 20; i += 1) turns.slowDown(); // one burst is one complaint
  for (let i = 0; i < 64; i += 1) turns.giveBack();
  expect(await takeAll(turns, 40)).toBe(32);
  clock.advance(5_000);
  turns.giveBack();
  await new Promise(setImmediate);
  for (let i = 0; i < 39; i += 1) turns.giveBack();
  expect(await takeAll(turns, 64)).toBe(37);
});

test('one turn is always left, and they come back to as many as were allowed', async () => {
  const clock = createManualClock();
  const turns = createTurns(clock, 4);
  for (let complaint = 0; complaint < 5; complaint += 1) {
    turns.slowDown();
    clock.advance(1_000);
  }
  turns.slowDown();
  expect(await takeAll(turns, 3)).toBe(1);
  clock.advance(60_000);
  turns.giveBack();
  await new Promise(setImmediate);
  expect(await takeAll(turns, 10)).toBe(2);
});
