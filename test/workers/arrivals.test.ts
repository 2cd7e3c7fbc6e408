import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { type ArrivalEnd, createArrivals } from '../../lib/workers/reconciler/arrivals.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

async function listeningFleet(env: Record<string, string> = {}): Promise<TestFleet> {
  return createTestFleet({
    backends: [{ name: 'a', events: true, prefix: 'in/' }, { name: 'b' }],
    policies: { default: { factor: 2 } },
    env,
  });
}

/** What the bucket of backend a says; its keys are below the backend's prefix. */
async function tell(fleet: TestFleet, ...keys: string[]) {
  const ends: Record<string, ArrivalEnd> = {};
  const asked: string[] = [];
  const { before } = fleet;
  fleet.before = (call) => {
    const { port, method, args } = call;
    if (port !== 'store' && args[0] !== '.holdfast/owner') asked.push(`${method} ${port}/${String(args[0])}`);
    return before?.(call);
  };
  const puts = keys.map((key) => ({ bucket: 'bucket-a', key }));
  const worker = createArrivals(puts, ({ key }, end) => {
    ends[key] = end;
  });
  const report = await runTick(fleet.deps, worker, { deadline: fleet.clock.now() + 60_000 });
  fleet.before = before;
  return { report, ends, asked };
}

test('a new file is asked for once, imported under its policy, and copied by the next replicator tick [events-are-hints]', async () => {
  const fleet = await listeningFleet();
  fleet.backends.a!.putNow('photo', Buffer.from('theirs'));
  const { report, ends, asked } = await tell(fleet, 'in/photo', 'in/photo');
  expect(asked).toEqual(['head a/photo']);
  expect(report).toMatchObject({ succeeded: 1, failed: 0, reasons: { imported: 1 } });
  expect(ends).toEqual({ 'in/photo': { outcome: 'settled' } });
  expect(fleet.object('photo')).toMatchObject({ policy: 'default', copies: { a: '' } });
  await fleet.tick('replicator');
  expect(fleet.copiesOf('photo')).toEqual({ a: 'theirs', b: 'theirs' });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the same event again, or hours later, changes nothing [events-repeat-harmlessly]', async () => {
  const fleet = await listeningFleet();
  fleet.backends.a!.putNow('photo', Buffer.from('theirs'));
  await tell(fleet, 'in/photo');
  await fleet.settle();
  const before = fleet.object('photo');
  fleet.clock.advance(48 * hourMs);
  expect((await tell(fleet, 'in/photo')).report.reasons).toEqual({ known: 1 });
  expect(fleet.object('photo')).toEqual(before);
  expect(fleet.queue()).toEqual([]);
});

test('events out of order: what is there now is what counts [events-are-hints]', async () => {
  const fleet = await listeningFleet();
  const a = fleet.backends.a!;
  a.putNow('photo', Buffer.from('first'));
  await tell(fleet, 'in/photo');
  await fleet.settle(['replicator'], 1);
  fleet.clock.advance(60_000);
  a.putNow('photo', Buffer.from('second'));
  // Of the second put, then of the first one.
  expect((await tell(fleet, 'in/photo')).report.reasons).toEqual({ 'plain-overwritten': 1 });
  expect((await tell(fleet, 'in/photo')).report.reasons).toEqual({ known: 1 });
  await fleet.settle(['replicator', 'cleanup-queue'], 10);
  expect(fleet.copiesOf('photo')).toEqual({ a: 'second', b: 'second' });
  a.deleteNow('photo');
  expect((await tell(fleet, 'in/photo', 'in/never-there')).report.reasons).toEqual({ gone: 2 });
  // A late event has no say in what is missing: that is for passes, with evidence.
  expect(fleet.copiesOf('photo')).toEqual({ a: null, b: 'second' });
});

test('what a person deleted through the library is not brought back by a late event [events-undo-nothing]', async () => {
  const fleet = await listeningFleet();
  fleet.backends.a!.putNow('photo', Buffer.from('theirs'));
  await tell(fleet, 'in/photo');
  fleet.clock.advance(1000);
  await fleet.client.delete('photo');
  expect((await tell(fleet, 'in/photo')).report.succeeded).toBe(0);
  expect(fleet.entry('photo')?.kind).toBe('tombstone');
  expect(fleet.backends.a!.peek('photo')).toBeDefined();
});

test('our own keys, other prefixes and buckets, and backends that do not listen are not even asked for [events-cost-nothing-else]', async () => {
  const fleet = await listeningFleet();
  await fleet.client.put('ours', 'ours');
  const storage = `ours!${Object.values(fleet.object('ours').copies)[0]}`;
  const { report, ends, asked } = await tell(
    fleet,
    `in/${storage}`,
    'in/.holdfast/owner',
    'in/',
    'elsewhere/photo',
    `in/${'k'.repeat(2000)}`,
  );
  expect(asked).toEqual([]);
  expect(report).toMatchObject({ planned: 0, failed: 0 });
  expect(Object.values(ends).every(({ outcome }) => outcome === 'settled')).toBe(true);
  const worker = createArrivals(
    [
      { bucket: 'bucket-b', key: 'x' },
      { bucket: 'nobody', key: 'x' },
    ],
    () => {},
  );
  fleet.backends.b!.putNow('x', Buffer.from('x'));
  await runTick(fleet.deps, worker, { deadline: fleet.clock.now() + 60_000 });
  expect(fleet.entry('x')).toBeUndefined();
});

test('a forged mark, or a copy of ours under a plain name, is left alone', async () => {
  const fleet = await listeningFleet();
  fleet.backends.a!.putNow('marked', Buffer.from('x'), { metadata: { holdfast: 'v2 another-fleet 01J 00 ' } });
  expect((await tell(fleet, 'in/marked')).report.reasons).toEqual({ 'foreign-mark': 1 });
  expect(fleet.entry('marked')).toBeUndefined();
});

test('a backend that does not answer, or a worker that is paused: the event is to come again, and then its file is imported [events-come-again]', async () => {
  const fleet = await listeningFleet();
  fleet.backends.a!.putNow('photo', Buffer.from('theirs'));
  fleet.backends.a!.putNow('other', Buffer.from('other'));
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'head' && args[0] === 'photo')
      throw new BackendError('unavailable', 'a', 'InternalError');
  };
  const first = await tell(fleet, 'in/photo', 'in/other');
  expect(first.ends['in/photo']).toMatchObject({ outcome: 'again' });
  expect(first.ends['in/other']).toEqual({ outcome: 'settled' });
  fleet.before = undefined;
  const row = { pk: 'fleet', sk: 'settings', version: 1, data: { overrides: {}, paused: ['reconciler'] } };
  await fleet.store.write({ kind: 'row', put: row, expect: 'absent' });
  expect((await tell(fleet, 'in/photo')).ends).toEqual({});
  await fleet.store.write({ kind: 'row', put: { ...row, version: 2, data: { overrides: {}, paused: [] } }, expect: 1 });
  expect((await tell(fleet, 'in/photo')).ends['in/photo']).toEqual({ outcome: 'settled' });
  expect(fleet.object('photo').copies).toEqual({ a: '' });
});

test('an event that is held up until its answer is too old records nothing by it [events-undo-nothing]', async () => {
  const fleet = await listeningFleet();
  fleet.backends.a!.putNow('photo', Buffer.from('theirs'));
  fleet.before = ({ port, method }) => {
    if (port !== 'store' || method !== 'objects') return;
    fleet.before = undefined;
    // Meanwhile it is imported, deleted by its owner, and forgotten.
    fleet.backends.a!.deleteNow('photo');
    fleet.clock.advance(hourMs);
  };
  const { ends } = await tell(fleet, 'in/photo');
  expect(ends['in/photo']).toMatchObject({ outcome: 'again' });
  expect(fleet.entry('photo')).toBeUndefined();
  expect((await tell(fleet, 'in/photo')).report.reasons).toEqual({ gone: 1 });
});

test('two deliveries of one event at the same time make one object [events-repeat-harmlessly]', async () => {
  const fleet = await listeningFleet();
  for (let i = 0; i < 30; i += 1) fleet.backends.a!.putNow(`f${i}`, Buffer.from(`${i}`));
  const keys = Array.from({ length: 30 }, (_, i) => `in/f${i}`);
  const both = await Promise.all([tell(fleet, ...keys), tell(fleet, ...keys)]);
  const imported = both.reduce((sum, { report }) => sum + (report.reasons.imported ?? 0), 0);
  expect(imported).toBe(30);
  for (const { ends } of both) expect(Object.values(ends).every(({ outcome }) => outcome === 'settled')).toBe(true);
  expect((await fleet.recount()).differences).toEqual([]);
});
