import { expect, test } from 'vitest';
import { usageReport } from '../../lib/operations/usage-report.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { addTenMillion, type ConsoleLab, consoleOver, twelveBackends } from './kit.ts';

/** Every call of the store, by method. */
function listen(fleet: TestFleet): string[] {
  const calls: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'store') calls.push(method === 'control' ? `control ${args[0]}` : method);
  };
  return calls;
}

async function open(lab: ConsoleLab): Promise<() => void> {
  const stop = new AbortController();
  const response = await fetch(`http://127.0.0.1:${lab.console.port}/api/events?token=${lab.token}`, {
    signal: stop.signal,
  });
  const reader = response.body!.getReader();
  let text = '';
  while (!text.includes('data: ')) text += Buffer.from((await reader.read()).value!).toString();
  return () => stop.abort();
}

test('an open console costs one query every five seconds, however many pages are open, and none once they are closed [console-costs-little]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('one', 'one');
  await fleet.settle();
  const lab = await consoleOver(fleet);
  try {
    const calls = listen(fleet);
    const closes = [await open(lab)];
    // The fleet, the leases of seven workers, and the usage of the month.
    expect(calls).toHaveLength(9);
    closes.push(await open(lab), await open(lab));
    expect(calls).toHaveLength(9);
    calls.length = 0;
    const minutes = 10;
    for (let i = 0; i < minutes * 12; i += 1) await lab.poll();
    expect(calls.length).toBeLessThanOrEqual(minutes * 12);
    // What changes from moment to moment is at most ten seconds old.
    expect(calls.filter((call) => call === 'control fleet').length).toBeGreaterThanOrEqual(minutes * 6);
    expect(calls.filter((call) => call === 'leases').length).toBeGreaterThanOrEqual(minutes * 4);
    for (const close of closes) close();
    await lab.console.close();
    calls.length = 0;
    fleet.clock.advance(60_000);
    expect(calls).toEqual([]);
  } finally {
    await lab.close().catch(() => {});
  }
});

test('what was spent of limits is read one query at a time, too, and is what `holdfast usage` shows [console-costs-little]', async () => {
  const fleet = await createTestFleet({
    backends: [
      { name: 'a', egressUsdPerGb: 90, limits: { egressBytes: 10_000_000, usd: 5 }, dailyLimits: { classA: 9 } },
      { name: 'b', limits: { requests: 100 }, limitsReset: { zone: 'America/Los_Angeles', hour: 3 } },
    ],
  });
  for (let i = 0; i < 9; i += 1) await fleet.client.put(`k/${i}`, Buffer.alloc(10_000));
  await fleet.settle();
  const lab = await consoleOver(fleet);
  try {
    const calls = listen(fleet);
    const close = await open(lab);
    for (let i = 0; i < 120; i += 1) {
      const before = calls.length;
      await lab.poll();
      expect(calls.length - before).toBe(1);
    }
    // The month, the day, and the month of Los Angeles, every five minutes.
    expect(calls.filter((call) => call === 'usage').length).toBeGreaterThanOrEqual(6);
    const { backends } = await lab.overview();
    close();
    const { config } = await readFleet(fleet.store, fleet.clock.now());
    const lines = await usageReport(fleet.store, config!.file.backends, fleet.clock.now());
    const withoutForecast = (line: object) => ({ ...line, forecast: 0 });
    expect(
      backends.flatMap(({ name, usage }) => usage!.map((line) => withoutForecast({ backend: name, ...line }))),
    ).toEqual(lines.map(({ since: _, ...line }) => withoutForecast(line)));
    expect(lines.map(({ per, what, allowed }) => [per, what, allowed])).toEqual(
      expect.arrayContaining([
        ['month', 'usd', 5],
        ['day', 'classA', 9],
        ['month', 'requests', 100],
      ]),
    );
  } finally {
    await lab.close();
  }
});

test('with twelve backends and ten million objects the figures come from the ledger, and nothing is scanned [console-costs-little]', async () => {
  const fleet = await createTestFleet({ backends: twelveBackends });
  const objects = addTenMillion(fleet);
  const lab = await consoleOver(fleet);
  try {
    const calls = listen(fleet);
    const overview = await lab.overview();
    expect(overview.objects).toBe(objects);
    expect(overview.placements).toHaveLength(66);
    expect([...new Set(calls)].sort()).toEqual(['control fleet', 'leases', 'usage']);
    expect(JSON.stringify(overview).length).toBeLessThan(64 * 1024);
    calls.length = 0;
    await lab.get('/api/objects');
    // A page that shows fifty objects may ask so often, and no more: here the index has none.
    expect(calls.filter((call) => call === 'byPlacement').length).toBeLessThanOrEqual(64);
  } finally {
    await lab.close();
  }
});
