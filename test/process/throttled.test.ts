import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { createProcess } from '../../lib/process/process.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { someBytes } from '../contracts/backend-bytes.ts';
import { createManualClock } from '../support/fleet.ts';
import { type Lab, openLab } from '../support/lab.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await openLab({}, ({ fleet }) =>
    parseFleetFile({ backends: fleet.backends.slice(0, 2), policies: { default: { factor: 2 } } }),
  );
});
afterAll(() => lab.close());

test('a tick into a backend that throttles slows down instead of giving it up, and opens no breaker [slow-down-slows]', async () => {
  const sizes = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 1_000 : 300_000));
  for (const [i, size] of sizes.entries()) await lab.holdfast.put(`k${i}`, someBytes(size, i));
  const { faults, requests } = lab.stack.backends[1]!.server;
  faults.add({ kind: 'throttle', match: { operation: 'PutObject', keyPrefix: 'k' }, times: 6 });
  requests.clear();
  // Turns that are waited for pass at once, and their time is seen.
  const clock = createManualClock(Date.now());
  const holdfastProcess = createProcess({ env: lab.env, clock });
  const tick = () =>
    runTick({ ...holdfastProcess, env: lab.env }, workers.replicator!, { deadline: clock.now() + 3_600_000 });
  const startedAt = clock.now();
  const { succeeded, failed, reasons } = await tick();
  expect(requests.count({ operation: 'PutObject', status: 503 })).toBe(6);
  // A streamed write is sent once: it is the next tick's. Every other object had its turn in this one.
  expect(succeeded + failed).toBe(40);
  expect(reasons['target-throttled'] ?? 0).toBe(failed);
  expect(failed).toBeLessThanOrEqual(6);
  expect(clock.now() - startedAt).toBeGreaterThan(1_000);
  expect((await readFleet(holdfastProcess.store, clock.now())).breaker('local-2')?.openedAt).toBeUndefined();
  if (failed > 0) expect(await tick()).toMatchObject({ outcome: 'success', succeeded: failed });
  expect((await lab.listed('local-2')).size).toBe(40);
  await holdfastProcess.close();
});
