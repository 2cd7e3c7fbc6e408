import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { parseParameters } from '../../lib/config/parameters.ts';
import { changesBetween } from '../../lib/console/changes.ts';
import { fleetFigures } from '../../lib/console/overview.ts';
import { type Sample, sampleOf, withSample, workOf } from '../../lib/console/rates.ts';
import { createReader, type Readings } from '../../lib/console/readings.ts';
import { pollMs } from '../../lib/console/watch.ts';
import { newRange } from '../../lib/store/pass-rows.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { addTenMillion, consoleOver, twelveBackends } from './kit.ts';

async function readings(fleet: TestFleet): Promise<Readings> {
  const read = await createReader(fleet.deps).all();
  if (read.outcome !== 'read') throw new Error(read.outcome);
  return read.readings;
}

async function figuresNow(fleet: TestFleet) {
  return fleetFigures(await readings(fleet), { params: parseParameters(fleet.env), now: fleet.clock.now() });
}

test('work under way has its rate, and the time that it will take', async () => {
  const fleet = await createTestFleet({ env: { REPLICATOR_BATCH_SIZE: '10' } });
  for (let i = 0; i < 60; i += 1) await fleet.client.put(`k/${i}`, 'x');
  let samples: readonly Sample[] = [];
  const replication = async () => {
    const figures = await figuresNow(fleet);
    samples = withSample(samples, sampleOf(figures));
    return workOf(figures, samples).find(({ id }) => id === 'replication');
  };
  expect(await replication()).toMatchObject({ remaining: { objects: 60 } });
  expect((await replication())!.objectsPerSecond).toBeUndefined();
  const begun = fleet.clock.now();
  await fleet.tick('replicator', { rounds: 2 });
  fleet.clock.advance(begun + 20_000 - fleet.clock.now());
  expect(await replication()).toMatchObject({ remaining: { objects: 40 }, objectsPerSecond: 1, secondsLeft: 40 });
  await fleet.settle();
  expect(await replication()).toBeUndefined();
});

test('why objects lack copies is told by what keeps each copy from counting', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { UNHEALTHY_AFTER_SECONDS: '0' } });
  await fleet.client.put('one', 'one');
  await fleet.settle();
  const [lack] = (await figuresNow(fleet)).attention;
  expect(lack).toEqual({ name: 'under-replicated', objects: 0, reasons: [] });
  const data = { failures: 5, openedAt: fleet.clock.now(), unhealthySince: fleet.clock.now() - 1_000 };
  await fleet.store.write({
    kind: 'row',
    put: { pk: 'fleet', sk: 'breaker/b', version: 1, data },
    expect: 'absent',
  });
  const [unhealthy] = (await figuresNow(fleet)).attention;
  expect(unhealthy!.reasons).toEqual(['1 object: the copy on b does not count: it has not answered for too long']);
  await fleet.client.put('two', 'two');
  const [both] = (await figuresNow(fleet)).attention;
  expect(both!.reasons).toContain('1 object: the replicator has not copied them yet');
});

test('what changed between two looks is told once, with the time at which it happened', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('one', 'one');
  await fleet.settle();
  const before = await figuresNow(fleet);
  expect(changesBetween(before, before)).toEqual([]);
  const since = fleet.clock.now() - 7_000;
  const row = (sk: string, data: Record<string, unknown>) =>
    fleet.store.write({ kind: 'row', put: { pk: 'fleet', sk, version: 1, data }, expect: 'absent' });
  await row('breaker/a', { failures: 5, openedAt: since, unhealthySince: since });
  await row('settings', { overrides: { SCRUBBER_BATCH_SIZE: '7' }, paused: ['rebalancer'] });
  const after = await figuresNow(fleet);
  const told = changesBetween(before, after);
  expect(told.map(({ sentence }) => sentence).sort()).toEqual([
    'SCRUBBER_BATCH_SIZE was set to 7',
    'The rebalancer was paused',
    'a does not answer: its breaker opened',
  ]);
  expect(told.find(({ kind }) => kind === 'bad')!.at).toBe(since);
  expect(changesBetween(after, after)).toEqual([]);
  // Whoever looks for the first time is told of what goes on.
  expect(changesBetween(undefined, after)).toEqual([{ at: since, kind: 'bad', sentence: 'a stopped answering' }]);
});

test('a pass that is under way is shown with its ranges and its rate', async () => {
  const fleet = await createTestFleet();
  const startedAt = fleet.clock.now() - 10_000;
  const header = { number: 1, startedAt, isRunning: true };
  const ranges = [
    { ...newRange('0', 1, ['a'], {}), listed: 400, position: { phase: 'done' } },
    { ...newRange('1', 1, ['a'], {}), listed: 100 },
  ];
  const write = (pk: string, sk: string, data: object) =>
    fleet.store.write({ kind: 'row', put: { pk, sk, version: 1, data: { ...data } }, expect: 'absent' });
  await write('fleet', 'pass/import/a', header);
  for (const { id, ...range } of ranges) await write('pass/import/a', `range/${id}`, range);
  const lab = await consoleOver(fleet);
  const { work } = await lab.overview();
  expect(work).toEqual([
    {
      id: 'pass/import/a',
      what: 'Import from a',
      href: '#/backend/a',
      doneOf: { done: 1, all: 2 },
      objectsPerSecond: 50,
      secondsLeft: 10,
    },
  ]);
  await lab.close();
});

test('a page that is opened while the tables do not answer is told why, and is shown the fleet once they do', async () => {
  const fleet = await createTestFleet();
  const lab = await consoleOver(fleet);
  fleet.before = ({ port }) => {
    if (port === 'store') throw new Error('no store');
  };
  const headers = { authorization: `Bearer ${lab.token}` };
  const { body } = await fetch(`http://127.0.0.1:${lab.console.port}/api/events`, { headers });
  const reader = body!.getReader();
  let told = '';
  const until = async (text: string) => {
    while (!told.includes(text)) told += Buffer.from((await reader.read()).value!).toString();
  };
  await until('event: problem\ndata: "The tables cannot be read: no store"');
  expect(told).not.toContain('data: {');
  fleet.before = undefined;
  await lab.poll();
  await until('data: {"readAt"');
  await reader.cancel();
  await lab.close();
  expect(JSON.stringify(fleet.logs)).not.toContain(lab.token);
});

test('a page that reads nothing of what it is sent holds up no other', async () => {
  const fleet = await createTestFleet({ backends: twelveBackends });
  addTenMillion(fleet);
  const lab = await consoleOver(fleet);
  const idle = connect(lab.console.port, '127.0.0.1');
  idle.on('error', () => {});
  idle.write(
    `GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:${lab.console.port}\r\nAuthorization: Bearer ${lab.token}\r\n\r\n`,
  );
  await once(idle, 'readable');
  // More than any buffer between them holds.
  for (let i = 0; i < 100; i += 1) await lab.poll();
  expect((await lab.overview()).readAt).toBeGreaterThanOrEqual(fleet.clock.now() - 2 * pollMs);
  idle.destroy();
  await lab.close();
});

test('tables that cannot be read are named, and what was read before stays', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('one', 'one');
  const reader = createReader(fleet.deps);
  await reader.all();
  fleet.before = ({ port }) => {
    if (port === 'store') throw new Error('no store');
  };
  expect(await reader.refresh()).toEqual({ outcome: 'failed', message: 'no store' });
  expect(reader.latest!.fleet.placements).toHaveLength(1);
});
