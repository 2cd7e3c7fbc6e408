import { expect, test } from 'vitest';
import { defined } from '../../lib/base/defined.ts';
import { BackendError, type ListFrom, type ListPage } from '../../lib/fleet/backend.ts';
import { drain } from '../../lib/operations/drain.ts';
import { runPass } from '../../lib/operations/run-pass.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import { createPassRows, newRange, passName, rangesOfPass } from '../../lib/store/pass-rows.ts';
import { type Change, StoreError } from '../../lib/store/port.ts';
import type { TickEvent } from '../../lib/tick/tick.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;
const names = ['a', 'b', 'c', 'd', 'e', 'f'] as const;

async function filled(options: Parameters<typeof createTestFleet>[0] = {}, objects = 30): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b'], ...options });
  for (let i = 0; i < objects; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  fleet.clock.advance(2 * hourMs);
  return fleet;
}

/** Files that nobody imported, on every backend, and passes that list ten at a time. */
async function withFiles(count: number, backends = ['a']): Promise<TestFleet> {
  const fleet = await createTestFleet({
    backends,
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '10' },
  });
  for (const name of backends)
    for (let i = 0; i < count; i += 1) fleet.backends[name]!.putNow(`file ${i}`, Buffer.from(`${i}`));
  fleet.clock.advance(2 * hourMs);
  return fleet;
}

/** Bytes of ours that no record names: as a crashed tick leaves them. */
function orphan(fleet: TestFleet, name: string, key: string): string {
  const storage = `${key}!${fleet.ids.ulid()}`;
  const fleetId = fleet.backends.a!.peek('.holdfast/owner')!.metadata['holdfast-owner']!.split(' ')[0]!;
  const generation = fleet.entry(key)!.generation;
  const metadata = { [markName]: markFor({ fleetId, generation }, name, storage) };
  fleet.backends[name]!.putNow(storage, Buffer.from('orphan'), { metadata });
  return storage;
}

function alarmsOf(fleet: TestFleet): unknown[] {
  return fleet.logs.filter((line) => line.alarm === true).map(({ backend }) => backend);
}

test('six backends, five of them broken each in another way: the sixth is reconciled completely, and every broken one is an alarm with its name [passes-fail-apart]', async () => {
  const fleet = await createTestFleet({
    backends: names.map((name) => (name === 'd' ? { name, limits: { requests: 13 } } : { name })),
    policies: { default: { factor: 6 } },
    env: { RECONCILER_BATCH_SIZE: '7' },
  });
  for (let i = 0; i < 12; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  const left = orphan(fleet, 'f', 'k3');
  fleet.backends.f!.deleteNow(`k5!${fleet.object('k5').copies.f}`);
  fleet.clock.advance(2 * hourMs);
  const unnamed = orphan(fleet, 'b', 'k4');
  fleet.clock.advance(2 * hourMs);
  const broken = fleet.backends.c!.list;
  fleet.backends.c!.list = async (options) => {
    const page = await broken(options);
    return { ...page, items: page.items.slice(0, -1), unreadable: ['p/%FF%'] };
  };
  fleet.backends.e!.list = async ({ from }) => ({
    items: [],
    next: { token: from !== undefined && 'token' in from && from.token === 'one' ? 'two' : 'one' },
  });
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'list') throw new BackendError('denied', 'a', 'AccessDenied: s3:ListBucket');
    if (port === 'b' && method === 'head' && args[0] === unnamed)
      throw new BackendError('unavailable', 'b', 'InternalError');
  };
  const report = await fleet.tick('reconciler');
  expect(report.reasons).toMatchObject({ orphan: 1, 'missing-quarantined': 1 });
  expect(fleet.queue()).toMatchObject([
    { backend: 'f', storageKey: left, cause: 'orphan' },
    { backend: 'f', cause: 'quarantined' },
  ]);
  expect(report.figures['passComplete/f']).toBe(1);
  expect(new Set(alarmsOf(fleet))).toEqual(new Set(['a', 'b', 'd', 'e']));
  // What c lists cannot all be read: that is counted, and its pass is complete all the same.
  expect(report.reasons['unreadable-key']).toBeGreaterThan(0);
  expect(report.figures['passComplete/c']).toBe(1);
});

test('an empty storage key, and files named like outcomes, end no pass', async () => {
  const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '1' } });
  for (const key of ['', 'put-off', 'stopped', 'unreachable', 'end']) fleet.backends.a!.putNow(key, Buffer.from('x'));
  const storage = orphan(fleet, 'a', 'k9');
  fleet.clock.advance(2 * hourMs);
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ reasons: { orphan: 1, 'odd-key': 1, unmarked: 4 }, figures: { passComplete: 1 } });
  expect(fleet.queue()).toMatchObject([{ storageKey: storage }]);
});

test('a token that is no longer taken begins the listing anew, and nothing is compared twice or missed', async () => {
  const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '7', RECONCILER_ROUNDS: '2' } });
  const storage = orphan(fleet, 'a', 'k9');
  fleet.clock.advance(2 * hourMs);
  const { list } = fleet.backends.a!;
  let day = 0;
  fleet.backends.a!.list = async ({ from, ...options }) => {
    const [wanted, after] = from !== undefined && 'token' in from ? from.token.split(' ') : [];
    if (wanted !== undefined && Number(wanted) !== day)
      throw new BackendError('rejected', 'a', 'InvalidArgument: token');
    const page = await list({
      ...options,
      ...defined({ from: after === undefined ? undefined : { afterKey: after } }),
    });
    const last = page.items.at(-1)?.storageKey;
    return { items: page.items, ...defined({ next: page.next && { token: `${day} ${last}` } }) };
  };
  for (let ticks = 0; fleet.queue().length === 0 && ticks < 20; ticks += 1) {
    await fleet.tick('reconciler');
    day += 1;
    fleet.clock.advance(hourMs / 4);
  }
  expect(fleet.queue()).toMatchObject([{ storageKey: storage }]);
});

test('a page that goes on before its own last key is asked for anew: no place is kept that contradicts its keys', async () => {
  const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '7' } });
  const storage = orphan(fleet, 'a', 'k9');
  fleet.clock.advance(2 * hourMs);
  const { list } = fleet.backends.a!;
  let asked = 0;
  fleet.backends.a!.list = async (options) => {
    asked += 1;
    if (asked > 2 && asked < 20) throw new BackendError('throttled', 'a', 'SlowDown');
    const page = await list(options);
    return asked === 2 ? { ...page, next: options!.from! } : page;
  };
  await fleet.tick('reconciler');
  asked = 20;
  fleet.clock.advance(hourMs);
  const report = await fleet.tick('reconciler');
  expect(report.reasons['list-disordered']).toBeUndefined();
  expect(report.figures['passComplete/a']).toBe(1);
  expect(fleet.queue()).toMatchObject([{ storageKey: storage }]);
});

test('an order that was disproved, and keys that lead in a circle: its pass is an alarm, and takes no more than a few pages', async () => {
  const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '7' } });
  let asked = 0;
  fleet.backends.b!.list = async ({ from }) => {
    asked += 1;
    if (asked > 200) throw new Error('it goes on for ever');
    const isFirst = from === undefined || ('afterKey' in from && from.afterKey === 'x');
    const storageKey = isFirst ? 'y' : 'x';
    return { items: [{ storageKey, sizeBytes: 1, etag: '"e"', lastModified: 0 }], next: { afterKey: storageKey } };
  };
  await fleet.tick('reconciler');
  const report = await fleet.tick('reconciler');
  expect(report.reasons['list-circle']).toBeGreaterThan(0);
  expect(alarmsOf(fleet)).toEqual(['b', 'b']);
});

const empty: ListPage = { items: [] };

test.each([
  ['the same page', (page: ListPage) => page],
  ['nothing', () => empty],
])(
  'a listing that gives %s again and again, and each time another token, is followed for so long and is an alarm then',
  async (_, again) => {
    const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '7' } });
    Object.assign(fleet.backends.b!.capabilities, { listsInByteOrder: false });
    await fleet.apply({ backends: ['a', 'b', 'c'] });
    const { list } = fleet.backends.b!;
    let asked = 0;
    fleet.backends.b!.list = async (options) => {
      asked += 1;
      if (asked > 1_000) throw new Error('it goes on for ever');
      const { from: _from, ...begin } = options!;
      return { ...again(await list(begin)), next: { token: `fresh ${asked}` } };
    };
    await fleet.tick('reconciler');
    const report = await fleet.tick('reconciler');
    expect(report.reasons['list-circle']).toBeGreaterThan(0);
    expect(new Set(alarmsOf(fleet))).toEqual(new Set(['b']));
    expect(fleet.queue()).toEqual([]);
    // Whoever asked for the pass is told, and does not wait for an end that never comes.
    for (const kind of ['sweep', 'import'] as const) {
      let ticks = 0;
      const tick = async (event: TickEvent) => {
        asked = 0;
        ticks += 1;
        if (ticks > 50) throw new Error('it goes on for ever');
        return fleet.tick('reconciler', event);
      };
      const run = await runPass({ store: fleet.store, clock: fleet.operatorClock, tick }, { kind, backends: ['b'] });
      expect(run).toMatchObject({ outcome: 'ended', progress: { isComplete: false, problems: ['b: list-circle'] } });
    }
  },
);

test('a key that does not come after the one before disproves the order: copies are then asked for by name', async () => {
  const fleet = await filled();
  fleet.backends.b!.deleteNow(`k5!${fleet.object('k5').copies.b}`);
  const { list } = fleet.backends.b!;
  fleet.backends.b!.list = async (options) => {
    const page = await list(options);
    return { ...page, items: page.items.toReversed() };
  };
  await fleet.tick('reconciler');
  expect(fleet.queue()).toEqual([]);
  expect(alarmsOf(fleet)).toEqual(['b']);
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ reasons: { 'missing-quarantined': 1 }, figures: { passComplete: 1 } });
});

test('a backend that lists in no order is one range, and its records are asked for by name', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const row = fleet.store.rowAt('fleet', 'capabilities/b')!;
  const data = { ...row.data, listsInByteOrder: false };
  fleet.store.apply([{ kind: 'row', put: { ...row, version: row.version + 1, data }, expect: row.version }]);
  for (let i = 0; i < 30; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  fleet.backends.b!.deleteNow(`k5!${fleet.object('k5').copies.b}`);
  const storage = orphan(fleet, 'b', 'k9');
  fleet.clock.advance(2 * hourMs);
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ reasons: { 'missing-quarantined': 1, orphan: 1 }, figures: { passComplete: 1 } });
  expect(fleet.queue().map(({ storageKey }) => storageKey)).toContain(storage);
});

test('a large range is cut while lanes are free, and every key is met once', async () => {
  const fleet = await withFiles(600);
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ reasons: { unmarked: 600 }, figures: { passComplete: 1 } });
  expect((await rangesOfPass(fleet.store, 'a')).length).toBeGreaterThan(4);
});

test('however many ranges and backends are listed side by side, the records of four stretches are read at once', async () => {
  const fleet = await withFiles(600, ['a', 'b']);
  let [reading, most] = [0, 0];
  fleet.before = async ({ port, method }) => {
    if (port !== 'store' || method !== 'objects') return;
    reading += 1;
    most = Math.max(most, reading);
    for (let i = 0; i < 50; i += 1) await new Promise(setImmediate);
    reading -= 1;
  };
  expect((await fleet.tick('reconciler')).figures.passComplete).toBe(1);
  expect((await rangesOfPass(fleet.store, 'a')).length).toBeGreaterThan(4);
  expect(most).toBe(4);
});

test('one range meets a store that fails while others are worked on: the tick ends with that error once they have ended', async () => {
  const fleet = await withFiles(300);
  await fleet.tick('reconciler');
  expect((await rangesOfPass(fleet.store, 'a')).length).toBeGreaterThan(4);
  fleet.clock.advance(25 * hourMs);
  let hasFailed = false;
  let heldUp = 0;
  fleet.before = async ({ port, method }) => {
    if (port === 'a' && method === 'list' && heldUp < 4) {
      // The first range fails while others wait for their pages.
      heldUp += 1;
      while (!hasFailed) await new Promise(setImmediate);
    } else if (port === 'store' && method === 'objects' && !hasFailed) {
      hasFailed = true;
      throw new StoreError('throttled', 'no store now');
    }
  };
  expect(await fleet.tick('reconciler')).toMatchObject({ outcome: 'error', message: 'no store now' });
  expect(heldUp).toBe(4);
  fleet.before = undefined;
  fleet.clock.advance(hourMs);
  expect((await fleet.tick('reconciler')).figures.passComplete).toBe(1);
});

test('a pass over what is settled writes nothing to objects and queue, and at most twice to each range [copies-cost-little]', async () => {
  const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '10' } }, 400);
  await fleet.tick('reconciler');
  fleet.clock.advance(25 * hourMs);
  const writes: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'store' && method === 'transact')
      writes.push(...(args[0] as Change[]).map((change) => (change.kind === 'row' ? change.put.pk : change.kind)));
  };
  const scheduledTime = new Date(fleet.clock.now()).toISOString();
  expect((await fleet.tick('reconciler', { scheduledTime })).figures.passComplete).toBe(1);
  const ranges = [...(await rangesOfPass(fleet.store, 'a')), ...(await rangesOfPass(fleet.store, 'b'))].length;
  expect(writes.filter((pk) => pk.startsWith('pass/')).length).toBeLessThanOrEqual(2 * ranges);
  const kinds = new Set(writes.map((pk) => pk.split('/')[0]!));
  for (const kind of ['object', 'queue', 'queue-end']) expect(kinds).not.toContain(kind);
});

test('a scheduled tick between passes asks for nothing but the fleet', async () => {
  const fleet = await filled();
  await fleet.tick('reconciler');
  fleet.clock.advance(hourMs);
  const asked: string[] = [];
  fleet.before = ({ method }) => void asked.push(method);
  const scheduledTime = new Date(fleet.clock.now()).toISOString();
  expect((await fleet.tick('reconciler', { scheduledTime })).outcome).toBe('empty');
  expect(asked).toEqual(['control']);
});

test('a crash at any write of a pass, before or after its effect, leaves no key out [passes-cover-all]', async () => {
  for (let nth = 0; nth < 14; nth += 1) {
    for (const isAfter of [false, true]) {
      const fleet = await createTestFleet({
        backends: ['a'],
        policies: { default: { factor: 1 } },
        env: { RECONCILER_BATCH_SIZE: '10', RECONCILER_IMPORT: 'true' },
      });
      for (let i = 0; i < 150; i += 1) fleet.backends.a!.putNow(`file ${i}`, Buffer.from(`${i}`));
      fleet.clock.advance(2 * hourMs);
      let count = 0;
      const crash = ({ method, args }: { method: string; args: readonly unknown[] }) => {
        if (method !== 'transact' || !(args[0] as Change[]).some(({ kind }) => kind === 'row')) return;
        count += 1;
        if (count > nth) throw new Error('the process is gone');
      };
      if (isAfter) fleet.after = crash;
      else fleet.before = crash;
      await fleet.tick('reconciler').catch(() => {});
      fleet.before = undefined;
      fleet.after = undefined;
      fleet.clock.advance(hourMs);
      for (let ticks = 0; ticks < 4; ticks += 1) {
        if ((await fleet.tick('reconciler')).figures.passComplete === 1) break;
        fleet.clock.advance(hourMs);
      }
      expect([...fleet.store.allObjects()]).toHaveLength(150);
      expect((await fleet.recount()).differences).toEqual([]);
    }
  }
});

test('two ticks share the ranges of a pass, and neither does what the other does', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '10', RECONCILER_IMPORT: 'true' },
  });
  for (let i = 0; i < 300; i += 1) fleet.backends.a!.putNow(`file ${i}`, Buffer.from(`${i}`));
  await fleet.tick('reconciler');
  for (let i = 300; i < 600; i += 1) fleet.backends.a!.putNow(`file ${i}`, Buffer.from(`${i}`));
  const froms: ListFrom[] = [];
  fleet.before = ({ port, method, args }) => {
    const from = port === 'a' && method === 'list' ? (args[0] as { from?: ListFrom; limit: number }) : undefined;
    if (from?.from !== undefined && from.limit > 1) froms.push(from.from);
  };
  const both = await Promise.all([0, 1].map((part) => fleet.tick('reconciler', { part, of: 2 })));
  expect(both.map(({ reasons }) => reasons.imported ?? 0).reduce((a, b) => a + b)).toBe(300);
  expect(new Set(froms.map((from) => JSON.stringify(from))).size).toBe(froms.length);
  expect([...fleet.store.allObjects()]).toHaveLength(600);
});

test('files that a drain left behind rejoin their objects in the first pass that begins after it is over', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_MIN_AGE_SECONDS: '0' } });
  fleet.backends.a!.putNow('file', Buffer.from('theirs'));
  await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  await fleet.settle(['replicator', 'scrubber'], 3);
  const { sha256, copies, plainEtags } = fleet.object('file');
  // As a drain leaves it: the record remembers the file, and names it no more.
  const { a: _left, ...others } = copies;
  fleet.store.apply([
    {
      kind: 'object',
      put: { ...fleet.object('file'), rev: fleet.object('file').rev + 1, copies: others },
      expect: fleet.object('file'),
    },
  ]);
  await fleet.tick('reconciler');
  expect(fleet.object('file').copies).toEqual(others);
  const row = { pk: 'fleet', sk: 'rejoin/a', version: 1, data: { since: fleet.clock.now() } };
  await fleet.store.write({ kind: 'row', put: row, expect: 'absent' });
  fleet.clock.advance(60_000);
  expect(await fleet.tick('reconciler')).toMatchObject({ reasons: { joined: 1 } });
  expect(fleet.object('file')).toMatchObject({ sha256, copies, plainEtags });
  expect(fleet.store.rowAt('fleet', 'rejoin/a')).toBeUndefined();
});

test.each([
  ['with other content', 'through the library', {}],
  ['with other headers', 'theirs', { metadata: { owner: 'me' } }],
  ['with the same content', 'theirs', {}],
] as const)(
  'a file that a drain left behind rejoins what was put %s meanwhile only after a read that shows it to be the same',
  async (_, content, described) => {
    const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_MIN_AGE_SECONDS: '0' } });
    fleet.backends.a!.putNow('file', Buffer.from('theirs'));
    await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
    await drain(fleet.deps, 'a');
    await fleet.settle(['replicator', 'scrubber', 'over-replication-cleaner'], 5);
    expect(fleet.object('file').copies.a).toBeUndefined();
    await fleet.client.put('file', content, described);
    const { generation } = fleet.object('file');
    await undrain({ ...fleet.deps, clock: fleet.operatorClock }, 'a');
    fleet.clock.advance(60_000);
    const reads: unknown[] = [];
    fleet.before = ({ port, method, args }) => void (port === 'a' && method === 'get' && reads.push(args[0]));
    await fleet.tick('reconciler');
    fleet.before = undefined;
    const isSame = content === 'theirs' && !('metadata' in described);
    const isReadable = content.length === 'theirs'.length;
    expect(reads.filter((key) => key === 'file').length > 0).toBe(isReadable);
    expect(fleet.object('file').copies.a).toBe(isSame ? '' : undefined);
    fleet.clock.advance(31 * 24 * 3_600_000);
    await fleet.settle(['scrubber', 'reconciler', 'replicator'], 5);
    expect(fleet.object('file').generation).toBe(generation);
    expect(await fleet.read('file')).toBe(content);
  },
);

test('the spent egress of one backend keeps no other from being reconciled: what its copies would prove is said, and met again', async () => {
  const policies = { default: { factor: 3 } };
  const fleet = await filled({ backends: ['a', 'b', 'c'], policies }, 12);
  const missing = `k5!${fleet.object('k5').copies.b}`;
  fleet.backends.b!.deleteNow(missing);
  const left = [orphan(fleet, 'b', 'k7'), orphan(fleet, 'c', 'k3')];
  // Of each of these objects the copies on a alone can be read.
  const unreadable = new Set(['b k3', 'b k7', 'c k3', 'c k5', 'c k7']);
  fleet.before = ({ port, method, args }) => {
    if (method === 'get' && unreadable.has(`${port} ${String(args[0]).split('!')[0]}`))
      throw new BackendError('denied', port, 'AccessDenied');
  };
  await fleet.apply({ backends: [{ name: 'a', limits: { egressBytes: 1 } }, 'b', 'c'], policies });
  fleet.clock.advance(2 * hourMs);
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ outcome: 'success', deferred: 3, figures: { passesComplete: 3 } });
  expect(report.reasons).toEqual({ 'missing-over-egress': 1, 'proof-over-egress': 2 });
  expect([fleet.queue(), alarmsOf(fleet)]).toEqual([[], []]);
  await fleet.apply({ backends: ['a', 'b', 'c'], policies });
  fleet.clock.advance(25 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toEqual({ 'missing-quarantined': 1, orphan: 2 });
  expect(fleet.queue().map(({ storageKey }) => storageKey)).toEqual([missing, ...left]);
});

test('a file that the month allows no reading of is listed by name, and those behind it are imported', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_BATCH_SIZE: '2' } });
  for (const key of ['x1', 'x2', 'x3', 'x4']) fleet.backends.b!.putNow(key, Buffer.from(key));
  // The same length, and no ETag that says more: only reading both tells whether they are one object.
  fleet.backends.b!.putNow('x1', Buffer.from('x1'), { etag: '"1-2"' });
  fleet.backends.a!.putNow('x1', Buffer.from('xy'), { etag: '"2-2"' });
  await fleet.apply({ backends: [{ name: 'a', limits: { egressBytes: 1 } }, 'b'] });
  fleet.clock.advance(2 * hourMs);
  const request = { kind: 'import', backends: ['a', 'b'] } as const;
  const report = await fleet.tick('reconciler', { reconcile: request });
  expect(report.reasons).toMatchObject({ imported: 3, 'not-imported-over-egress': 2 });
  expect(report.figures.passComplete).toBe(1);
  const [range] = await rangesOfPass(fleet.store, passName(request));
  expect(range!.named).toEqual(['a', 'b'].map((backend) => ({ what: 'not-imported-over-egress', backend, key: 'x1' })));
});

const three = { kind: 'import', backends: ['a', 'b', 'c'] } as const;

/** Twelve files, the same on three backends, of which each tick lists a few at a time. */
async function threeTimesTheSame(): Promise<TestFleet> {
  const fleet = await createTestFleet({ env: { RECONCILER_BATCH_SIZE: '2' } });
  for (let i = 10; i < 22; i += 1)
    for (const name of three.backends) fleet.backends[name]!.putNow(`f${i}`, Buffer.from(`file ${i}`));
  fleet.clock.advance(2 * hourMs);
  return fleet;
}

const placesOf = (fleet: TestFleet) => [
  ...new Set(
    Array.from({ length: 12 }, (_, i) =>
      Object.keys(fleet.object(`f${i + 10}`).copies)
        .sort()
        .join('+'),
    ),
  ),
];

test.each([
  ['cannot be listed', ({ method }: { method: string }) => method === 'list', 'denied'],
  ['does not answer', () => true, 'unreachable'],
] as const)(
  'files that several backends hold are imported from the others while one of them %s, which joins later',
  async (_, isMeant, kind) => {
    const fleet = await threeTimesTheSame();
    fleet.before = (call) => {
      if (call.port === 'c' && isMeant(call)) throw new BackendError(kind, 'c', `c answers ${kind}`);
    };
    const report = await fleet.tick('reconciler', { reconcile: three });
    expect(report.reasons).toMatchObject({ imported: 12, joined: 12 });
    expect([placesOf(fleet), report.figures.passComplete]).toEqual([['a+b'], undefined]);
    fleet.before = undefined;
    fleet.clock.advance(hourMs);
    const next = await fleet.tick('reconciler', { reconcile: three });
    expect([placesOf(fleet), next.reasons, next.figures.passComplete]).toEqual([['a+b+c'], { joined: 12 }, 1]);
  },
);

test('a backend that fails at any request of a joined import is gone through later, and no file of any is left out', async () => {
  for (let at = 1; ; at += 1) {
    const fleet = await threeTimesTheSame();
    let asked = 0;
    fleet.before = ({ port }) => {
      if (port !== 'b') return;
      asked += 1;
      if (asked === at) throw new BackendError('denied', 'b', 'b answers denied');
    };
    const first = await fleet.tick('reconciler', { reconcile: three });
    for (let i = 10; i < 22; i += 1)
      expect(Object.keys(fleet.object(`f${i}`).copies), `f${i}, ${at}`).toEqual(expect.arrayContaining(['a', 'c']));
    if (asked < at) {
      expect(first.figures.passComplete).toBe(1);
      expect(at).toBeGreaterThan(5);
      break;
    }
    fleet.clock.advance(hourMs);
    const next = await fleet.tick('reconciler', { reconcile: three });
    expect([placesOf(fleet), next.figures.passComplete], `at request ${at}`).toEqual([['a+b+c'], 1]);
  }
});

test('a pass that was parted into many ranges ends, and the next begins in one transaction', async () => {
  const { store, ids } = await createTestFleet();
  const rows = createPassRows(store, ids, 'import/a+b');
  const ranges = (pass: number) => Array.from({ length: 48 }, (_, i) => newRange(`${i}`, pass, ['a', 'b'], {}));
  const header = { version: 0, number: 1, startedAt: 1, isRunning: true };
  for (const range of (await rows.begin(header, ranges(1), []))!)
    await rows.split(range, [newRange(`${range.id}.1`, 1, ['a'], {}), newRange(`${range.id}.1.left`, 1, ['b'], {})]);
  const former = await rows.ranges();
  expect(former).toHaveLength(144);
  const versions = new Map(former.map(({ id, version }) => [id, version]));
  const next = ranges(2).map((range) => ({ ...range, version: versions.get(range.id)! }));
  expect(await rows.begin({ ...header, version: 1, number: 2 }, next, former)).toHaveLength(48);
  expect((await rows.ranges()).filter(({ pass }) => pass === 2)).toHaveLength(48);
});
