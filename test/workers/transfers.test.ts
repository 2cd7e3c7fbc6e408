import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { headersDigest } from '../../lib/transfer/headers-digest.ts';
import { readMark } from '../../lib/transfer/mark.ts';
import { replicator } from '../../lib/workers/replicator/replicator.ts';
import { crashEverywhere } from '../support/crash.ts';
import { createTestFleet, type Hook, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';
import { allowSmallParts, unit } from '../support/small-parts.ts';

allowSmallParts();

const hourMs = 3_600_000;
const big = 10 * unit + 1;
/** A backend from which a tick of 20 s does not get 27 units. */
const slow = { name: 'a', maxBytesPerSecond: unit };

/** Objects above five units are copied in parts of five: three of them here. */
function createFleet(options: TestFleetOptions = {}): Promise<TestFleet> {
  const env = { MULTIPART_ABOVE_BYTES: String(5 * unit), PART_BYTES: String(5 * unit), ...options.env };
  return createTestFleet({ minPartBytes: 5 * unit, ...options, env });
}

function patterned(sizeBytes: number, seed = 1): Buffer {
  const block = Buffer.from(Uint8Array.from({ length: 4099 }, (_, i) => (i * 31 + seed * 7 + (i >>> 5)) & 0xff));
  return Buffer.concat(Array.from({ length: Math.ceil(sizeBytes / block.length) }, () => block)).subarray(0, sizeBytes);
}

function digest(bytes: Uint8Array | undefined): string | undefined {
  return bytes && createHash('sha256').update(bytes).digest('hex');
}

/** SHA-256 of each recorded copy as it is stored. */
function digests(fleet: TestFleet, key: string): Record<string, string | undefined> {
  const { copies } = fleet.object(key);
  return Object.fromEntries(
    Object.entries(copies).map(([name, id]) => [name, digest(fleet.backends[name]!.peek(`${key}!${id}`)?.bytes)]),
  );
}

/** The range that a call asks of the first backend; null for any other call. */
function rangeAsked({ port, method, args }: Parameters<Hook>[0]): string | null {
  const range = (args[1] as { range?: readonly number[] } | undefined)?.range;
  return port === 'a' && method === 'get' && range !== undefined ? range.join('-') : null;
}

test('a put of a big object writes it in parts, and leaves no upload open', async () => {
  const fleet = await createFleet();
  const calls: string[] = [];
  fleet.before = ({ port, method }) => void calls.push(`${port}.${method}`);
  const bytes = patterned(big);
  const { sha256 } = await fleet.client.put('k', bytes, { metadata: { note: 'x' } });
  expect(sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(calls.filter((c) => c === 'a.uploadPart')).toHaveLength(3);
  expect(calls).not.toContain('a.put');
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes) });
  expect(fleet.queue()).toEqual([]);
});

test('a big object is copied in parts, byte-identical, with its headers, and the ledger stays exact [headers-travel]', async () => {
  const fleet = await createFleet();
  const bytes = patterned(big);
  const headers = { contentType: 'text/x', contentEncoding: 'br', cacheControl: 'no-store' };
  await fleet.client.put('k', bytes, { headers, metadata: { note: 'grüße'.slice(0, 3) } });
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', planned: 1, succeeded: 1 });
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), b: digest(bytes) });
  const copy = fleet.backends.b!.peek(fleet.keysOn('b')[0]!)!;
  expect(copy.headers).toEqual(headers);
  const { holdfast, ...metadata } = copy.metadata;
  expect(metadata).toEqual({ note: 'grü' });
  const { generation } = fleet.object('k');
  const fleetId = fleet.backends.a!.peek(fleet.keysOn('a')[0]!)!.metadata.holdfast!.split(' ')[0]!;
  expect(readMark(copy.metadata, fleetId, 'b', fleet.keysOn('b')[0]!)).toEqual({
    outcome: 'ours',
    generation,
    sha256: digest(bytes),
    isEncrypted: false,
    headersSha256: headersDigest(headers, metadata),
  });
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'empty' });
});

test('a copy that spans ticks goes on where it was left and reads no part twice [big-copies-go-on]', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  const ranges: string[] = [];
  fleet.before = (call) => {
    const range = rangeAsked(call);
    if (range !== null) ranges.push(range);
  };
  const deadline = () => ({ deadline: fleet.clock.now() + 20_000 });
  const first = await fleet.tick('replicator', deadline());
  expect(first).toMatchObject({ outcome: 'success', deferred: 1 });
  expect(fleet.queue()).toMatchObject([{ state: 'transfer', backend: 'b', attempts: 0 }]);
  expect(fleet.queue()[0]!.transfer!.partsDone).toBeGreaterThan(0);
  expect((await fleet.recount()).differences).toEqual([]);
  let last = first;
  for (let ticks = 1; last.succeeded === 0 && ticks < 5; ticks += 1) {
    last = await fleet.tick('replicator', deadline());
    expect(last).toMatchObject({ outcome: 'success', failed: 0 });
  }
  expect(last).toMatchObject({ succeeded: 1 });
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), b: digest(bytes) });
  expect(new Set(ranges).size).toBe(ranges.length);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

/** The storage keys at which an upload was ever begun. */
test.each<readonly [string, object]>([
  ['more parts done than there are', { partsDone: 99 }],
  ['fewer parts done than none', { partsDone: -1 }],
  ['parts done that are no whole number', { partsDone: 1.5 }],
  ['a hash of another version', { hashState: Buffer.alloc(116, 7).toString('base64') }],
  ['a hash that is none', { hashState: '!' }],
  ['no hash', { hashState: '' }],
  ['a hash over other parts', { partsDone: 2 }],
  ['parts of another length', { partSizeBytes: 6 * unit }],
  ['another digest of its parts', { partsDigest: 'x' }],
  ['an upload that there is not', { uploadId: 'x' }],
])('a copy in parts of which %s is kept comes to its end, with the right bytes', async (_, odd) => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 15_000 });
  const [item] = fleet.queue();
  expect(item!.transfer!.partsDone).toBeGreaterThan(0);
  const put = { ...item!, transfer: { ...item!.transfer!, ...odd } };
  await fleet.store.write({ kind: 'queue', put, expect: { state: 'transfer' } });
  for (let ticks = 0; Object.keys(fleet.object('k').copies).length < 2; ticks += 1) {
    expect(ticks).toBeLessThan(20);
    await fleet.tick('replicator', { deadline: fleet.clock.now() + 60_000 });
    fleet.clock.advance(10 * 60_000);
  }
  expect(new Set(Object.values(digests(fleet, 'k')))).toEqual(new Set([digest(bytes)]));
});

function watchUploads(fleet: TestFleet): Set<string> {
  const begun = new Set<string>();
  const { before } = fleet;
  fleet.before = (call) => {
    if (call.method === 'createUpload')
      begun.add(`${call.port}/${(call.args[0] as { storageKey: string }).storageKey}`);
    return before?.(call);
  };
  return begun;
}

/** Open uploads at any of these places. */
async function openAt(fleet: TestFleet, places: Iterable<string>): Promise<string[]> {
  const open: string[] = [];
  for (const place of places) {
    const at = place.indexOf('/');
    open.push(...(await fleet.backends[place.slice(0, at)]!.openUploads(place.slice(at + 1))));
  }
  return open;
}

/** Replaces a hook, and keeps watching. */
function strike(fleet: TestFleet, hook: Hook): void {
  const { before } = fleet;
  fleet.before = (call) => {
    before?.(call);
    return hook(call);
  };
}

const failing = (kind: 'unavailable' | 'truncated' | 'timeout' | 'denied' | 'too-large', port: string): never => {
  throw new BackendError(kind, port, `"${port}" fails`);
};

test.each(['truncated', 'timeout', 'unavailable'] as const)(
  'a source whose bodies end %s is blamed, nothing is recorded, no upload is left open',
  async (kind) => {
    const fleet = await createFleet();
    const begun = watchUploads(fleet);
    await fleet.client.put('k', patterned(big));
    strike(fleet, (call) => {
      if (rangeAsked(call)?.startsWith(String(10 * unit))) failing(kind, 'a');
    });
    const report = await fleet.tick('replicator');
    expect(report).toMatchObject({ outcome: 'failed', failed: 1, reasons: { [`source-${kind}`]: 1 } });
    expect(Object.keys(fleet.object('k').copies)).toEqual(['a']);
    expect(fleet.queue()).toMatchObject([
      { state: 'transfer', attempts: 1, transfer: { failedLeg: 'source', uploadId: '' } },
    ]);
    await fleet.tick('cleanup-queue');
    expect(await openAt(fleet, begun)).toEqual([]);
    fleet.before = undefined;
    await fleet.settle();
    expect(digests(fleet, 'k')).toEqual({ a: digest(patterned(big)), b: digest(patterned(big)) });
    expect(fleet.queue()).toEqual([]);
  },
);

test('a big copy backs off while it keeps failing, and other objects are copied meanwhile', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', patterned(big));
  const tries: number[] = [];
  strike(fleet, (call) => {
    if (rangeAsked(call) === null) return;
    tries.push(fleet.clock.now());
    failing('timeout', 'a');
  });
  const startedAt = fleet.clock.now();
  for (let i = 0; fleet.clock.now() < startedAt + 2 * 3_600_000; i += 1) {
    await fleet.client.put(`small${i}`, 'v');
    await fleet.tick('replicator');
    expect(Object.keys(fleet.object(`small${i}`).copies)).toEqual(['a', 'b']);
    fleet.clock.advance(10 * 60_000);
  }
  expect(fleet.object('k').stuck).toMatchObject({ a: { leg: 'source', cause: 'timeout' } });
  const waits = tries.slice(1).map((at, i) => at - tries[i]!);
  expect(waits.length).toBeGreaterThan(2);
  expect(waits).toEqual([...waits].sort((a, b) => a - b));
  expect(waits.length).toBeLessThan(6);
});

test('another copy of the same generation goes on where the source fails', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'], policies: { default: { factor: 2 } } });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  await fleet.settle(['replicator']);
  await fleet.apply({ backends: [slow, 'b', 'c'], policies: { default: { factor: 3 } } });
  const ranges: string[] = [];
  fleet.before = ({ port, method, args }) => {
    const range = (args[1] as { range?: number[] } | undefined)?.range;
    if (method === 'get' && range !== undefined) ranges.push(range.join('-'));
    if (port === 'a' && method === 'get' && range?.[0] === 10 * unit) failing('truncated', 'a');
  };
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  await fleet.tick('replicator');
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), b: digest(bytes), c: digest(bytes) });
  expect(fleet.queue()).toEqual([]);
});

test.each(['denied', 'too-large', 'unavailable'] as const)(
  'a target that answers %s to the last part is blamed, and another target takes the copy in the same tick',
  async (kind) => {
    const fleet = await createFleet();
    const begun = watchUploads(fleet);
    await fleet.client.put('k', patterned(big));
    strike(fleet, ({ port, method, args }) => {
      if (port === 'b' && method === 'uploadPart' && (args[0] as { partNumber: number }).partNumber === 3)
        failing(kind, 'b');
    });
    const report = await fleet.tick('replicator');
    expect(report.reasons).toMatchObject({ [`target-${kind}`]: 1, transferred: 1 });
    expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'c']);
    await fleet.tick('cleanup-queue');
    expect(await openAt(fleet, begun)).toEqual([]);
    await fleet.settle();
    expect(digests(fleet, 'k')).toEqual({ a: digest(patterned(big)), c: digest(patterned(big)) });
    expect(fleet.queue()).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('a target that stores other bytes is found out, nothing is recorded, and they are deleted [copies-are-verified]', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'] });
  const begun = watchUploads(fleet);
  await fleet.client.put('k', patterned(big));
  const { b } = fleet.backends;
  const { uploadPart } = b!;
  Object.assign(b!, {
    uploadPart: (request: Parameters<typeof uploadPart>[0], signal?: AbortSignal) =>
      uploadPart({ ...request, body: bodyOf(Buffer.alloc(request.sizeBytes)) }, signal),
  });
  const report = await fleet.tick('replicator');
  expect(report).toMatchObject({ outcome: 'failed', failed: 1, reasons: { 'target-wrong': 1 } });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a']);
  await fleet.tick('cleanup-queue');
  expect(await openAt(fleet, begun)).toEqual([]);
  expect(fleet.keysOn('b')).toEqual([]);
  expect(fleet.queue()).toEqual([]);
  // The next attempt waits.
  expect(fleet.object('k')).toMatchObject({ condition: 'stuck', stuck: { b: { cause: 'stored-wrong' } } });
  expect(await fleet.tick('replicator')).toMatchObject({ failed: 0, succeeded: 0 });
  Object.assign(b!, { uploadPart });
  await fleet.settle();
  expect(digests(fleet, 'k')).toEqual({ a: digest(patterned(big)), b: digest(patterned(big)) });
  expect(fleet.queue()).toEqual([]);
});

/** ETags of backend b are not of the bytes that it was sent. */
function provesNothing(fleet: TestFleet): void {
  const { b } = fleet.backends;
  const { uploadPart, listParts, completeUpload } = b!;
  const odd = (etag: string) => `"x${etag.slice(1)}`;
  const even = (etag: string) => `"${etag.slice(2)}`;
  Object.assign(b!, {
    uploadPart: async (...args: Parameters<typeof uploadPart>) => ({ etag: odd((await uploadPart(...args)).etag) }),
    listParts: async (...args: Parameters<typeof listParts>) =>
      (await listParts(...args)).map((part) => ({ ...part, etag: odd(part.etag) })),
    completeUpload: (request: Parameters<typeof completeUpload>[0]) =>
      completeUpload({ ...request, parts: request.parts.map((part) => ({ ...part, etag: even(part.etag) })) }),
  });
}

test('a target whose ETags prove nothing is read back before the copy is recorded', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', patterned(big));
  provesNothing(fleet);
  const read: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'get') read.push(String((args[1] as { range?: number[] }).range));
  };
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 1 });
  expect(read).toHaveLength(3);
  expect(digests(fleet, 'k')).toEqual({ a: digest(patterned(big)), b: digest(patterned(big)) });
});

test('a target is read back only as far as its usage limit allows', async () => {
  const limits = { requests: 0, egressBytes: big - 1, ingressBytes: 0 };
  const fleet = await createFleet({ backends: ['a', { name: 'b', limits }] });
  await fleet.client.put('k', patterned(big));
  provesNothing(fleet);
  const read: string[] = [];
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'get') read.push(method);
  };
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 0, reasons: { 'over-egress': 1 } });
  expect(read).toEqual([]);
  await fleet.apply({ backends: ['a', 'b'] });
  fleet.clock.advance(3_600_000);
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 1 });
  expect(digests(fleet, 'k').b).toBe(digest(patterned(big)));
});

test.each(['overwritten', 'deleted', 'deleted and put again'])(
  'an object %s between two ticks of its copy is not resurrected: the copy is abandoned, its upload closed',
  async (what) => {
    const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
    const begun = watchUploads(fleet);
    await fleet.client.put('k', patterned(27 * unit));
    await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
    expect(fleet.queue()).toMatchObject([{ state: 'transfer' }]);
    if (what !== 'overwritten') await fleet.client.delete('k');
    if (what !== 'deleted') await fleet.client.put('k', 'new');
    fleet.clock.advance(1_000);
    expect((await fleet.tick('replicator')).reasons).toMatchObject({ 'abandoned-superseded': 1 });
    await fleet.tick('cleanup-queue');
    expect(await openAt(fleet, begun)).toEqual([]);
    await fleet.settle();
    expect(fleet.queue()).toEqual([]);
    if (what === 'deleted') expect(await fleet.read('k')).toBeNull();
    else expect(fleet.copiesOf('k')).toEqual({ a: 'new', b: 'new' });
    expect((await fleet.recount()).differences).toEqual([]);
    expect(fleet.backends.b!.contents().size).toBe(what === 'deleted' ? 1 : 2);
  },
);

test('two ticks at once never work on the same copy, also without leases', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  const lease = { worker: 'replicator', part: '0/1', holder: 'x', epoch: 1, expiresAt: 0 };
  const store = new Proxy(fleet.deps.store, {
    get: (target, name, receiver) =>
      name === 'acquireLease'
        ? async () => lease
        : name === 'updateLease'
          ? async () => true
          : Reflect.get(target, name, receiver),
  });
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  expect(fleet.queue()).toMatchObject([{ state: 'transfer' }]);
  const ranges: string[] = [];
  fleet.before = (call) => {
    const range = rangeAsked(call);
    if (range !== null) ranges.push(range);
  };
  fleet.clock.advance(1_000);
  const event = { deadline: fleet.clock.now() + 300_000 };
  const reports = await Promise.all([
    runTick({ ...fleet.deps, store }, replicator, event),
    runTick({ ...fleet.deps, store }, replicator, event),
  ]);
  expect(reports.map(({ reasons }) => reasons.transferred ?? 0).sort()).toEqual([0, 1]);
  expect(new Set(ranges).size).toBe(ranges.length);
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), b: digest(bytes) });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a transfer is charged when it begins, and one that finds no room is not begun', async () => {
  const fleet = await createFleet({
    backends: [slow, { name: 'b', quotaBytes: 30 * unit }],
    policies: { default: { factor: 1 }, two: { prefix: 'x', factor: 2 } },
  });
  await fleet.client.put('x1', patterned(20 * unit));
  await fleet.client.put('x2', patterned(20 * unit));
  const tick = () => fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  await tick();
  expect(fleet.queue()).toHaveLength(1);
  expect((await fleet.recount()).differences).toEqual([]);
  for (let i = 0; i < 5; i += 1) await tick();
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('b')).toHaveLength(1);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an object whose hash nobody knows gets it recorded by the swap that records its copy', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  const { sha256, ...unhashed } = fleet.object('k');
  const after = { ...unhashed, rev: unhashed.rev + 1 };
  await fleet.store.transact(
    [{ kind: 'object', put: after, expect: { generation: after.generation, rev: unhashed.rev } }],
    'token',
  );
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  await fleet.tick('replicator');
  expect(fleet.object('k').sha256).toBe(sha256);
  expect(digests(fleet, 'k')).toEqual({ a: sha256, b: sha256 });
});

test('an upload that the target has forgotten is begun anew', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  const [item] = fleet.queue();
  await fleet.backends.b!.abortUpload(item!.storageKey, item!.transfer!.uploadId);
  await fleet.settle();
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), b: digest(bytes) });
  expect(fleet.queue()).toEqual([]);
});

test('a copy in parts to a target that drains is abandoned, and nothing is written there to see whether it takes writes', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  await fleet.client.put('k', patterned(27 * unit));
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  expect(fleet.queue()).toMatchObject([{ state: 'transfer', backend: 'b' }]);
  // It took no writes when it was tried last, and is left alone since.
  const now = fleet.clock.now();
  const refusing = { since: now, attempts: 1, retryAt: now + 3_600_000, message: 'denied' };
  for (const [sk, data] of Object.entries({ 'refusing/b': refusing, 'drain/b': { since: now } }))
    await fleet.store.write({ kind: 'row', put: { pk: 'fleet', sk, version: 1, data }, expect: 'absent' });
  const written: string[] = [];
  fleet.before = ({ port, method }) => {
    if (port === 'b' && ['put', 'uploadPart', 'createUpload'].includes(method)) written.push(method);
  };
  const report = await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  expect(report.reasons).toMatchObject({ 'abandoned-target-not-counted': 1 });
  await fleet.settle();
  expect(written).toEqual([]);
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('b')).toEqual([]);
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'c']);
  expect((await fleet.recount()).differences).toEqual([]);
});

/** A copy in parts to `b` that was begun before `b` took nothing any more; it is left alone for an hour since. */
async function transferToRefusing(names: readonly string[]): Promise<{ fleet: TestFleet; sent: string[] }> {
  const fleet = await createFleet({ backends: [slow, ...names] });
  await fleet.client.put('k', patterned(27 * unit));
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  expect(fleet.queue()).toMatchObject([{ state: 'transfer', backend: 'b' }]);
  const now = fleet.clock.now();
  const data = { since: now, attempts: 3, retryAt: now + hourMs, message: 'denied' };
  await fleet.store.write({
    kind: 'row',
    put: { pk: 'fleet', sk: 'refusing/b', version: 1, data },
    expect: 'absent',
  });
  const sent: string[] = [];
  fleet.before = ({ port, method }) => {
    if (port === 'b' && ['put', 'uploadPart', 'createUpload'].includes(method)) sent.push(method);
  };
  return { fleet, sent };
}

test('a copy in parts to a target that is left alone is not asked for either, and another target takes the copy', async () => {
  const { fleet, sent } = await transferToRefusing(['b', 'c']);
  for (let minute = 0; minute < 50; minute += 5) {
    await fleet.tick('replicator');
    fleet.clock.advance(5 * 60_000);
  }
  expect(sent).toEqual([]);
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'c']);
  fleet.clock.advance(hourMs);
  await fleet.settle();
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the only target of a copy in parts is left alone until its time, and goes on where it was', async () => {
  const { fleet, sent } = await transferToRefusing(['b']);
  const { partsDone } = fleet.queue()[0]!.transfer!;
  const report = await fleet.tick('replicator');
  expect(report.reasons).toMatchObject({ 'target-left-alone': 1 });
  expect(sent).toEqual([]);
  fleet.clock.advance(hourMs);
  await fleet.settle();
  // A few bytes of ours first, and then what was missing.
  expect(sent).toEqual(['put', ...Array.from({ length: 6 - partsDone }, () => 'uploadPart')]);
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b']);
});

test('uploads of keys that are not ours stay open', async () => {
  const fleet = await createFleet();
  await fleet.client.put('k', patterned(big));
  const { uploadId } = await fleet.backends.b!.createUpload({ storageKey: 'k' });
  await fleet.settle();
  expect(await fleet.backends.b!.openUploads('k')).toEqual([uploadId]);
});

test('a big object is moved by the rebalancer in parts, over several ticks, and its old bytes go', async () => {
  const backends = [
    { name: 'a', quotaBytes: 100 * unit, maxBytesPerSecond: unit },
    { name: 'b', quotaBytes: 100 * unit },
  ];
  const fleet = await createFleet({
    backends,
    policies: { default: { factor: 1 } },
    env: { REBALANCER_STRATEGY: 'spread', REBALANCER_THRESHOLD: '0.05' },
  });
  const [one, two] = [patterned(27 * unit, 1), patterned(27 * unit, 2)];
  await fleet.client.put('one', one);
  await fleet.client.put('two', two);
  await fleet.tick('rebalancer', { deadline: fleet.clock.now() + 20_000 });
  expect(fleet.queue()).toMatchObject([{ state: 'transfer', backend: 'b', reason: 'moved' }]);
  expect(await fleet.tick('rebalancer', { deadline: fleet.clock.now() + 20_000 })).toMatchObject({ succeeded: 0 });
  expect(fleet.queue()).toHaveLength(1);
  await fleet.settle();
  expect([...Object.keys(fleet.object('one').copies), ...Object.keys(fleet.object('two').copies)].sort()).toEqual([
    'a',
    'b',
  ]);
  expect({ ...digests(fleet, 'one'), ...digests(fleet, 'two') }).toEqual(
    fleet.object('one').copies.a === undefined
      ? { b: digest(one), a: digest(two) }
      : { a: digest(one), b: digest(two) },
  );
  expect([fleet.keysOn('a').length, fleet.keysOn('b').length]).toEqual([1, 1]);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a tick goes on with every due transfer, whatever its batch', async () => {
  const fleet = await createFleet({
    backends: ['a', 'b', 'c', 'd'],
    policies: { default: { factor: 4 } },
    env: { REPLICATOR_BATCH_SIZE: '1' },
  });
  await fleet.client.put('k', patterned(6 * unit));
  fleet.before = ({ method }) => {
    if (method === 'uploadPart') throw new BackendError('throttled', 'b', 'slow down');
  };
  await fleet.tick('replicator');
  expect(fleet.queue().map(({ state }) => state)).toEqual(['transfer', 'transfer', 'transfer']);
  fleet.before = undefined;
  fleet.clock.advance(24 * 3_600_000);
  expect(await fleet.tick('replicator')).toMatchObject({ reasons: { transferred: 3 } });
  expect(fleet.queue()).toEqual([]);
});

test('a copy in parts stops when the breaker of its target opens, and goes on once it is closed', async () => {
  const fleet = await createFleet({ backends: [slow, 'b'], env: { REPLICATOR_CONCURRENCY: '1' } });
  const bytes = patterned(37 * unit);
  await fleet.client.put('k', bytes);
  const sent: number[] = [];
  fleet.after = ({ port, method, args }) => {
    if (port === 'b' && method === 'uploadPart') sent.push((args[0] as { partNumber: number }).partNumber);
  };
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
  const count = fleet.after;
  const breaker = (version: number, data: Record<string, number>) => {
    const put = { pk: 'fleet', sk: 'breaker/b', version, data };
    fleet.store.apply([{ kind: 'row', put, expect: version === 1 ? 'absent' : version - 1 }]);
  };
  const before = sent.length;
  fleet.after = (call) => {
    count(call);
    if (sent.length !== before + 1 || call.method !== 'uploadPart') return;
    // Another process found so; long enough ago that this one looks at the fleet again.
    const openedAt = fleet.clock.now();
    breaker(1, { failures: 5, openedAt, probeAfter: openedAt + 300_000 });
    fleet.clock.advance(16_000);
  };
  expect(await fleet.tick('replicator')).toMatchObject({ deferred: 1, reasons: { 'transfer-continues': 1 } });
  expect(sent.length).toBe(before + 1);
  breaker(2, { failures: 0 });
  await fleet.tick('replicator');
  expect(sent).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), b: digest(bytes) });
});

test('a copy in parts is not begun on a target whose breaker opened while others were on their way', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'] });
  for (const key of ['k1', 'k2', 'k3', 'k4']) await fleet.client.put(key, patterned(6 * unit));
  const begun: string[] = [];
  let isOpen = false;
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'createUpload') begun.push((args[0] as { storageKey: string }).storageKey);
  };
  fleet.after = ({ port, method }) => {
    if (isOpen || port !== 'b' || method !== 'uploadPart') return;
    isOpen = true;
    const openedAt = fleet.clock.now();
    const data = { failures: 5, openedAt, probeAfter: openedAt + 300_000 };
    fleet.store.apply([{ kind: 'row', put: { pk: 'fleet', sk: 'breaker/b', version: 1, data }, expect: 'absent' }]);
    fleet.clock.advance(16_000);
  };
  expect((await fleet.tick('replicator')).reasons).toMatchObject({ 'target-unusable': 2 });
  expect(begun).toHaveLength(2);
});

test('a put that dies in the middle of its parts leaves no upload open', async () => {
  const fleet = await createFleet();
  const begun = watchUploads(fleet);
  let isDead = false;
  strike(fleet, ({ method }) => {
    isDead ||= method === 'uploadPart';
    if (isDead) throw new Error('the process is gone');
  });
  await expect(fleet.client.put('k', patterned(big))).rejects.toThrow('the process is gone');
  fleet.before = undefined;
  expect(await openAt(fleet, begun)).toHaveLength(1);
  await fleet.settle(['pending-reaper', 'cleanup-queue'], 90);
  expect(await openAt(fleet, begun)).toEqual([]);
  expect(fleet.queue()).toEqual([]);
});

test('a crash at any point of a copy in parts loses nothing, and the fleet converges', async () => {
  const content = 'the first part|the second one';
  const env = { MULTIPART_ABOVE_BYTES: '15', PART_BYTES: '15' };
  const calls = await crashEverywhere({
    options: { backends: ['a', 'b'], env, minPartBytes: 15 },
    quickStep: 8,
    arrange: (fleet) => fleet.client.put('k', content),
    act: (fleet) => fleet.tick('replicator'),
    contents: { k: content },
  });
  expect(calls).toBeGreaterThan(15);
});

test('a long batch of small objects leaves a big one its time', async () => {
  const fleet = await createFleet({ env: { REPLICATOR_CONCURRENCY: '1' } });
  await fleet.client.put('big', patterned(big));
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'uploadPart') throw new BackendError('throttled', 'b', 'slow down');
  };
  await fleet.tick('replicator');
  expect(digests(fleet, 'big').b).toBeUndefined();
  for (let i = 0; i < 40; i += 1) await fleet.client.put(`small${i}`, 'v');
  fleet.clock.advance(120_000);
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'put') fleet.clock.advance(10_000);
  };
  await fleet.tick('replicator', { deadline: fleet.clock.now() + 270_000 });
  expect(digests(fleet, 'big').b).toBe(digest(patterned(big)));
});

const limited = (name: string, limits: Record<string, number>) => ({
  name,
  limits: { requests: 0, egressBytes: 0, ingressBytes: 0, ...limits },
});

test('no more big copies are begun than the month allows, and the others go to a target that is free, in the same tick', async () => {
  const fleet = await createFleet({ backends: ['a', limited('b', { ingressBytes: 16 * unit }), 'c'] });
  const keys = [0, 1, 2, 3, 4].map((i) => `big${i}`);
  for (const [i, key] of keys.entries()) await fleet.client.put(key, patterned(6 * unit, i));
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 5 });
  const targets = keys.map((key) => Object.keys(fleet.object(key).copies).join('+')).sort();
  expect(targets).toEqual(['a+b', 'a+b', 'a+c', 'a+c', 'a+c']);
  expect(fleet.queue()).toEqual([]);
});

test('a big copy that the limit of its target holds back is made on another target, and abandoned', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', patterned(big));
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'createUpload') throw new BackendError('throttled', 'b', 'slow down');
  };
  await fleet.tick('replicator');
  expect(fleet.queue()).toMatchObject([{ state: 'transfer', backend: 'b' }]);
  fleet.before = undefined;
  await fleet.apply({ backends: ['a', limited('b', { ingressBytes: unit }), 'c'] });
  fleet.clock.advance(600_000);
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'c']);
  fleet.clock.advance(2 * 3_600_000);
  await fleet.settle();
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a target that forgets its uploads keeps a big copy from no other target', async () => {
  const fleet = await createFleet({ backends: [slow, 'b', 'c'] });
  const bytes = patterned(27 * unit);
  await fleet.client.put('k', bytes);
  for (let i = 0; i < 40 && Object.keys(fleet.object('k').copies).length < 2; i += 1) {
    await fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });
    for (const { backend, storageKey, transfer } of fleet.queue())
      if (backend === 'b' && transfer?.uploadId) await fleet.backends.b!.abortUpload(storageKey, transfer.uploadId);
    fleet.clock.advance(60_000);
  }
  expect(digests(fleet, 'k')).toEqual({ a: digest(bytes), c: digest(bytes) });
});

test('a big copy whose source sent other bytes goes on with another source', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  const bytes = patterned(big);
  await fleet.client.put('k', bytes);
  await fleet.tick('replicator');
  const [rotten] = fleet.keysOn('a');
  const stored = fleet.backends.a!.peek(rotten!)!;
  fleet.backends.a!.putNow(rotten!, Buffer.from(bytes).fill(7, 100, 200), stored);
  await fleet.apply({ backends: ['a', 'b', 'c'], policies: { default: { factor: 3 } } });
  await fleet.settle(['replicator'], 10);
  expect(digests(fleet, 'k').c).toBe(digest(bytes));
});

test('a target that refuses a big object loses it to another in the same tick, and is asked again only after its backoff', async () => {
  const fleet = await createFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  await fleet.client.put('k', patterned(big));
  let asked = 0;
  strike(fleet, ({ port, method }) => {
    if (port !== 'b' || method !== 'createUpload') return;
    asked += 1;
    failing('denied', 'b');
  });
  for (let i = 0; i < 12; i += 1) {
    await fleet.tick('replicator');
    fleet.clock.advance(5 * 60_000);
  }
  expect(fleet.object('k')).toMatchObject({ condition: 'stuck', stuck: { b: { leg: 'target', cause: 'denied' } } });
  expect(asked).toBeLessThanOrEqual(4);
  expect((await fleet.recount()).differences).toEqual([]);
  await fleet.apply({ backends: ['a', 'b', 'c'] });
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'c']);
  await fleet.settle();
  expect(fleet.queue()).toEqual([]);
});
