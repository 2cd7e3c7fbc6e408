import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { rangesOfPass } from '../../lib/store/pass-rows.ts';
import type { Change } from '../../lib/store/port.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet } from '../support/fleet.ts';
import { fill, foundBy, hourMs, importOf, objectsIn } from '../support/passes.ts';
import { createVirtualTime } from '../support/virtual-time.ts';

/** As S3 names what was uploaded in two parts. */
function etagInTwo(bytes: Uint8Array, firstPartBytes: number): string {
  const md5 = (part: Uint8Array) => createHash('md5').update(part).digest();
  const parts = [bytes.subarray(0, firstPartBytes), bytes.subarray(firstPartBytes)];
  return `"${md5(Buffer.concat(parts.map(md5))).toString('hex')}-2"`;
}

test('where S3 takes 30 ms and DynamoDB 5, an import waits for neither: one LIST for a thousand keys, no HEAD, thousands a second [import-from-listing]', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  const files = 5_000;
  fill(fleet, 'a', files);
  fleet.clock.advance(hourMs);
  const time = createVirtualTime(fleet.clock);
  const asked = { pages: 0, guesses: 0, heads: 0, transactions: 0 };
  fleet.before = ({ port, method, args }) => {
    if (port === 'store' && method === 'transact') asked.transactions += 1;
    if (port === 'a' && method === 'head' && args[0] !== '.holdfast/owner') asked.heads += 1;
    if (port === 'a' && method === 'list') asked[(args[0] as { limit: number }).limit === 1 ? 'guesses' : 'pages'] += 1;
    return time.wait(port === 'a' ? 30 : 5);
  };
  const startedAt = fleet.clock.now();
  const report = await time.run(fleet.tick('reconciler', importOf('a')));
  const seconds = (fleet.clock.now() - startedAt) / 1000;
  expect(report).toMatchObject({ reasons: { imported: files }, figures: { passComplete: 1 } });
  expect(files / seconds).toBeGreaterThan(5_000);
  expect(asked.heads).toBe(0);
  // Each range but the first may end in a page that is not full.
  const ranges = (await rangesOfPass(fleet.store, 'import/a')).length;
  expect(asked.pages).toBeLessThanOrEqual(files / 1000 + ranges);
  expect(asked.transactions).toBeLessThan(files / 60);
});

test('a page that is too old when it comes to its commit is listed anew, and none of its keys is taken for refused [imports-from-fresh-pages]', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '300' },
  });
  fill(fleet, 'a', 900);
  fleet.clock.advance(hourMs);
  let slept = false;
  fleet.before = ({ port, method, args }) => {
    const isCommit = port === 'store' && method === 'transact' && (args[0] as Change[])[0]?.kind === 'object';
    if (slept || !isCommit) return;
    slept = true;
    fleet.clock.advance(200_000);
  };
  const report = await fleet.tick('reconciler', { ...importOf('a'), deadline: fleet.clock.now() + hourMs });
  expect(report).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(report.reasons['tried-again']).toBeUndefined();
  expect(objectsIn(fleet)).toHaveLength(900);
  const { imported = 0, known = 0 } = await foundBy(fleet, 'import/a');
  expect(imported + known).toBe(900);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a tick whose time is up in the middle of a page leaves the page where it is: the next one goes on there', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '400' },
  });
  fill(fleet, 'a', 400);
  fleet.clock.advance(hourMs);
  let commits = 0;
  fleet.before = ({ port, method, args }) => {
    const isCommit = port === 'store' && method === 'transact' && (args[0] as Change[])[0]?.kind === 'object';
    if (isCommit) commits += 1;
    if (isCommit && commits === 2) fleet.clock.advance(30_000);
  };
  const first = await fleet.tick('reconciler', { ...importOf('a'), deadline: fleet.clock.now() + 30_000 });
  expect(first.failed).toBe(0);
  expect(first.figures.passComplete).toBeUndefined();
  expect(objectsIn(fleet).length).toBeLessThan(400);
  fleet.clock.advance(hourMs);
  const second = await fleet.tick('reconciler', importOf('a'));
  expect(second).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(objectsIn(fleet)).toHaveLength(400);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('two backends with files in common are joined without a read where MD5 ETags tell; what differs is a conflict, and only what cannot be told is read [import-joins-equals]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  const files = isWhole ? 10_000 : 1_200;
  fill(fleet, 'a', files);
  // Half are equal and their ETags tell; a quarter differ; a quarter were uploaded in parts, alike or otherwise.
  fill(fleet, 'b', files, (i) => (i % 4 === 0 ? `other ${i}` : `file ${i}`));
  const inParts = new Set<string>();
  for (let i = 3; i < files; i += 4) {
    const key = `photos/${String(i).padStart(6, '0')}.jpg`;
    inParts.add(key);
    for (const name of ['a', 'b']) {
      const { bytes } = fleet.backends[name]!.peek(key)!;
      const firstPartBytes = name === 'a' ? Math.ceil(bytes.length / 2) : bytes.length - 1;
      fleet.backends[name]!.putNow(key, bytes, { etag: etagInTwo(bytes, firstPartBytes), firstPartBytes });
    }
  }
  fleet.clock.advance(hourMs);
  const read: string[] = [];
  let transactions = 0;
  fleet.before = ({ port, method, args }) => {
    if (port !== 'store' && method === 'get') read.push(String(args[0]));
    if (port === 'store' && method === 'transact') transactions += 1;
  };
  const report = await fleet.tick('reconciler', { ...importOf('a', 'b'), deadline: fleet.clock.now() + hourMs });
  fleet.before = undefined;
  expect(report.figures.passComplete).toBe(1);
  expect(await foundBy(fleet, 'import/a+b')).toEqual({
    imported: files,
    joined: files * 0.75,
    conflict: files / 4,
  });
  // Each of both files once.
  expect(new Set(read)).toEqual(inParts);
  expect(read).toHaveLength(2 * inParts.size);
  expect(transactions).toBeLessThan(files / 10 + 40);
  // Only what is in conflict has one copy too few, and the file in its way stays as it is.
  const replicated = await fleet.tick('replicator');
  expect(replicated.succeeded).toBe(files / 4);
  expect(Buffer.from(fleet.backends.b!.peek('photos/000004.jpg')!.bytes).toString()).toBe('other 4');
  expect(fleet.copiesOf('photos/000004.jpg')).toEqual({ a: 'file 4', b: 'file 4' });
  expect((await fleet.recount()).differences).toEqual([]);
});

test.each([0, 30])(
  'a pass over what was imported writes neither objects nor queue, and at most two rows for each of its ranges; %i files were put since',
  async (since) => {
    const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
    fill(fleet, 'a', isWhole ? 60_000 : 15_000);
    await fleet.tick('reconciler', { ...importOf('a'), deadline: fleet.clock.now() + hourMs });
    fleet.clock.advance(25 * hourMs);
    for (let i = 0; i < since; i += 1) await fleet.client.put(`photos/0${i}`, 'v');
    fleet.clock.advance(2 * hourMs);
    const written: Change[] = [];
    fleet.before = ({ port, method, args }) => {
      if (port === 'store' && method === 'transact') written.push(...(args[0] as Change[]));
    };
    for (let pass = 0; pass < 2; pass += 1) {
      written.length = 0;
      const report = await fleet.tick('reconciler', { deadline: fleet.clock.now() + hourMs });
      expect(report.figures.passesComplete).toBe(1);
      const ranges = await rangesOfPass(fleet.store, 'a');
      expect(ranges.length).toBeGreaterThan(1);
      expect(written.filter(({ kind }) => kind === 'object' || kind === 'queue')).toEqual([]);
      const rows = written.flatMap((change) => ('put' in change && 'pk' in change.put ? [change.put] : []));
      for (const { id } of ranges)
        expect(rows.filter(({ pk, sk }) => pk === 'pass/a' && sk === `range/${id}`)).toHaveLength(2);
      // And the pass itself begins and ends.
      expect(rows).toHaveLength(2 * ranges.length + 2);
      fleet.clock.advance(25 * hourMs);
    }
  },
);

test('when an import has ended, every object carries the label of its policy, and the next replicator tick copies', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: { default: { factor: 2 }, once: { factor: 1, prefix: 'photos/00000' } },
  });
  fill(fleet, 'a', 30);
  await fleet.tick('reconciler', importOf('a'));
  const labels = [...fleet.store.allObjects()].map((entry) => (entry.kind === 'object' ? entry.policy : ''));
  expect(labels.filter((policy) => policy === 'once')).toHaveLength(10);
  expect(labels.filter((policy) => policy === 'default')).toHaveLength(20);
  const report = await fleet.tick('replicator');
  expect(report.succeeded).toBe(20);
  expect((await fleet.tick('replicator')).outcome).toBe('empty');
});

test('files put, deleted and overwritten during an import are counted as what they are, and nothing is stuck', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: { default: { factor: 2 } },
    env: { RECONCILER_BATCH_SIZE: '10', RECONCILER_MIN_AGE_SECONDS: '0' },
  });
  fill(fleet, 'a', 60);
  const a = fleet.backends.a!;
  let pages = 0;
  fleet.after = ({ port, method }) => {
    if (port !== 'a' || method !== 'list') return;
    pages += 1;
    // What was just listed changes before it can be recorded.
    if (pages === 1) {
      a.deleteNow('photos/000001.jpg');
      a.putNow('photos/000002.jpg', Buffer.from('overwritten'));
      a.putNow('aaa', Buffer.from('put behind the listing'));
      a.putNow('zzz', Buffer.from('put before the listing'));
    }
  };
  const report = await fleet.tick('reconciler', importOf('a'));
  fleet.after = undefined;
  expect(report.figures.passComplete).toBe(1);
  expect(objectsIn(fleet)).toContain('zzz');
  // What was missed, or is recorded otherwise than it is, is met by the passes.
  fleet.clock.advance(25 * hourMs);
  await fleet.tick('replicator');
  const pass = await fleet.tick('reconciler', importOf('a'));
  expect(pass.reasons).toMatchObject({ imported: 1 });
  const sweep = await fleet.tick('reconciler');
  expect(sweep.reasons).toMatchObject({ gone: 1 });
  await fleet.settle(['replicator', 'cleanup-queue'], 5);
  expect(fleet.entry('photos/000001.jpg')).toMatchObject({ kind: 'tombstone' });
  expect(await fleet.read('photos/000002.jpg')).toBe('overwritten');
  expect(fleet.copiesOf('photos/000002.jpg')).toEqual({ a: 'overwritten', b: 'overwritten' });
  expect(await fleet.read('aaa')).toBe('put behind the listing');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the next pass, or the next import, counts by name what changed while an import went over it', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '10', RECONCILER_MIN_AGE_SECONDS: '0' },
  });
  fill(fleet, 'a', 60);
  const a = fleet.backends.a!;
  let isChanged = false;
  fleet.after = ({ port, method }) => {
    if (port !== 'a' || method !== 'list' || isChanged) return;
    isChanged = true;
    for (const i of [1, 2]) a.deleteNow(`photos/00000${i}.jpg`);
    for (const i of [3, 4]) a.putNow(`photos/00000${i}.jpg`, Buffer.from('other content'));
    a.putNow('before', Buffer.from('put behind the listing'));
  };
  await fleet.tick('reconciler', importOf('a'));
  fleet.after = undefined;
  const found = async (event: object) => {
    const { reasons, failed } = await fleet.tick('reconciler', event);
    expect(failed).toBe(0);
    return reasons;
  };
  expect(await found(importOf('a'))).toEqual({ imported: 1, 'plain-overwritten': 2 });
  expect(await foundBy(fleet, 'import/a')).toEqual({ imported: 1, known: 56, 'plain-overwritten': 2 });
  fleet.clock.advance(25 * hourMs);
  expect(await found({})).toEqual({ gone: 2 });
  for (const i of [1, 2]) expect(fleet.entry(`photos/00000${i}.jpg`)).toMatchObject({ kind: 'tombstone' });
  for (const i of [3, 4]) expect(await fleet.read(`photos/00000${i}.jpg`)).toBe('other content');
  fleet.clock.advance(25 * hourMs);
  expect(await found({})).toEqual({});
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an import that slept for an hour before its commit undoes no delete', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  fill(fleet, 'a', 20);
  fleet.clock.advance(hourMs);
  const deleted = 'photos/000007.jpg';
  let slept = false;
  fleet.before = async ({ port, method, args }) => {
    const isCommit = port === 'store' && method === 'transact' && (args[0] as Change[])[0]?.kind === 'object';
    if (slept || !isCommit) return;
    slept = true;
    fleet.clock.advance(hourMs);
    // A person deletes the object of that key, and its owner the file.
    await fleet.client.delete(deleted);
    fleet.backends.a!.deleteNow(deleted);
  };
  const report = await fleet.tick('reconciler', { ...importOf('a'), deadline: fleet.clock.now() + 3 * hourMs });
  expect(report).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(objectsIn(fleet)).toHaveLength(19);
  expect(fleet.entry(deleted)?.kind).toBe('tombstone');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the hash of a file that was uploaded in parts is proved while it is copied for the first time: its bytes leave once', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const parts = [Buffer.alloc(5_000, 'a'), Buffer.alloc(5_000, 'b'), Buffer.alloc(1_234, 'c')];
  const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest();
  const etag = `"${md5(Buffer.concat(parts.map(md5))).toString('hex')}-3"`;
  const bytes = Buffer.concat(parts);
  fleet.backends.a!.putNow('video', bytes, { etag, firstPartBytes: 5_000 });
  await fleet.tick('reconciler', importOf('a'));
  expect(fleet.object('video').sha256).toBeUndefined();
  let readBytes = 0;
  const { get } = fleet.backends.a!;
  fleet.backends.a!.get = async (key, options, signal) => {
    const stored = await get(key, options, signal);
    readBytes += key === 'video' ? stored.sizeBytes : 0;
    return stored;
  };
  await fleet.settle(['replicator'], 2);
  expect(fleet.object('video').sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(Object.keys(fleet.object('video').copies)).toEqual(['a', 'b']);
  expect(readBytes).toBe(bytes.length);
});

test('a backend without byte order is imported by itself, beside those that are joined', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_BATCH_SIZE: '10' } });
  const row = fleet.store.rowAt('fleet', 'capabilities/b')!;
  const data = { ...row.data, listsInByteOrder: false };
  fleet.store.apply([{ kind: 'row', put: { ...row, version: row.version + 1, data }, expect: row.version }]);
  for (const name of ['a', 'b']) fill(fleet, name, 45);
  fleet.backends.b!.putNow('b alone', Buffer.from('b'));
  fleet.clock.advance(hourMs);
  const report = await fleet.tick('reconciler', importOf('a', 'b'));
  expect(report).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(objectsIn(fleet)).toHaveLength(46);
  expect(await foundBy(fleet, 'import/a+b')).toEqual({ imported: 46, joined: 45 });
  expect((await fleet.recount()).differences).toEqual([]);
});

test.each(['repeats', 'drops'] as const)(
  'a listing that %s a key between pages ends all the same, and no key is taken twice',
  async (fault) => {
    const fleet = await createTestFleet({
      backends: ['a'],
      policies: { default: { factor: 1 } },
      env: { RECONCILER_BATCH_SIZE: '10' },
    });
    fill(fleet, 'a', 95);
    fleet.clock.advance(hourMs);
    const { list } = fleet.backends.a!;
    let pages = 0;
    fleet.backends.a!.list = async (options) => {
      const page = await list(options);
      pages += 1;
      const isStruck = pages === 4 && page.items.length > 2;
      if (!isStruck) return page;
      return fault === 'drops'
        ? { ...page, items: page.items.slice(1) }
        : { ...page, items: [fleet.backends.a!.listNow({ limit: 1 }).items[0]!, ...page.items] };
    };
    let complete = false;
    for (let ticks = 0; !complete && ticks < 5; ticks += 1)
      complete = (await fleet.tick('reconciler', importOf('a'))).figures.passComplete === 1;
    expect(complete).toBe(true);
    // What a listing left out is met when it is listed again.
    fleet.backends.a!.list = list;
    await fleet.tick('reconciler', importOf('a'));
    expect(objectsIn(fleet)).toHaveLength(95);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('a key and its storage keys on both sides of a cut: each range judges what is its own, and nothing is missing or queued', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    env: { RECONCILER_BATCH_SIZE: '10', RECONCILER_IMPORT: 'true' },
  });
  // Between "k 12" and its copies "k 12!…" stand files that begin with the same key and a space.
  for (let i = 0; i < 120; i += 1) {
    await fleet.client.put(`k ${i}`, `v${i}`);
    fleet.backends.a!.putNow(`k ${i} a file`, Buffer.from('theirs'));
    fleet.backends.a!.putNow(`k ${i}\t`, Buffer.from('theirs'));
  }
  await fleet.tick('replicator');
  fleet.clock.advance(2 * hourMs);
  let splits = 0;
  for (let day = 0; day < 3; day += 1) {
    const report = await fleet.tick('reconciler');
    expect(report.figures.passesComplete).toBe(2);
    expect(report.reasons['missing-quarantined'] ?? 0).toBe(0);
    splits = Math.max(splits, (await rangesOfPass(fleet.store, 'a')).length);
    fleet.clock.advance(25 * hourMs);
  }
  expect(splits).toBeGreaterThan(8);
  expect(fleet.queue()).toEqual([]);
  expect(objectsIn(fleet)).toHaveLength(360);
  for (let i = 0; i < 120; i += 1) expect(Object.keys(fleet.object(`k ${i}`).copies)).toHaveLength(2);
});

test('a LIST, or a HEAD, that the end of a tick takes back is no problem of its backend: no alarm, and the next tick goes on there', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '10' },
  });
  fill(fleet, 'a', 60);
  fleet.clock.advance(hourMs);
  let pages = 0;
  fleet.before = ({ port, method }) => {
    if (port !== 'a' || method !== 'list') return;
    pages += 1;
    if (pages !== 3) return;
    fleet.clock.advance(hourMs);
    throw new BackendError('cancelled', 'a', 'Cannot list "" on "a": it was cancelled');
  };
  const first = await fleet.tick('reconciler', importOf('a'));
  expect(first).toMatchObject({ failed: 0, reasons: { imported: expect.any(Number) } });
  expect(fleet.logs.filter(({ alarm }) => alarm)).toEqual([]);
  const second = await fleet.tick('reconciler', importOf('a'));
  expect(second).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(objectsIn(fleet)).toHaveLength(60);
});
