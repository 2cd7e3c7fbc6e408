import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { createAdmission } from '../../../lib/base/admission.ts';
import type { Body } from '../../../lib/base/bytes.ts';
import { deadlineAt } from '../../../lib/base/deadline.ts';
import { silentLog } from '../../../lib/base/log.ts';
import { type Backend, BackendError, type GetOptions } from '../../../lib/fleet/backend.ts';
import { StoreError } from '../../../lib/store/port.ts';
import { readingKey } from '../../../lib/store/row-keys.ts';
import { createMemoryBackend, type MemoryBackend } from '../../../lib/testing/backend/memory-backend.ts';
import { createMemoryStore, type MemoryStore } from '../../../lib/testing/store/memory-store.ts';
import { createCopyReader } from '../../../lib/transfer/reading/copy-reader.ts';
import type {
  CopyReader,
  CopyReaderDeps,
  GoodReading,
  Reading,
  ReadOptions,
} from '../../../lib/transfer/reading/reading.ts';
import type { StoredBytes } from '../../../lib/transfer/reading/stored-bytes.ts';
import { createManualClock, type ManualClock } from '../../support/fleet.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const minuteMs = 60_000;
/** What one turn of the slow backend reads. */
const turnBytes = 1000;
const sizeBytes = 40 * turnBytes;
const content = Buffer.from(Array.from({ length: sizeBytes }, (_, i) => (i * 7 + (i >> 8)) % 251));
const rightHash = createHash('sha256').update(content).digest('hex');

let clock: ManualClock;
let store: MemoryStore;
let memory: Record<string, MemoryBackend>;
/** Bytes that were read of each backend. */
let egress: Record<string, number>;
/** Calls of each backend, as `<backend> <call> <range>`. */
let calls: string[];
let turns: number;
let limitBytes: number;
/** Changes one answer of a backend. */
let misread: ((backend: string, chunk: Uint8Array) => Uint8Array) | undefined;
let refusing: ((backend: string, call: string) => void) | undefined;

beforeEach(() => {
  clock = createManualClock();
  store = createMemoryStore({ clock });
  memory = Object.fromEntries(['a', 'b'].map((name) => [name, createMemoryBackend({ name, clock })]));
  egress = { a: 0, b: 0 };
  calls = [];
  turns = 0;
  limitBytes = Number.POSITIVE_INFINITY;
  misread = undefined;
  refusing = undefined;
});

/** A backend whose bodies come in small chunks, each of which takes its time. */
function slow(name: string, msPerKb: number, signal: AbortSignal): Backend {
  const inner = memory[name]!;
  const paced = async function* (body: Body): Body {
    for await (const whole of body) {
      for (let at = 0; at < whole.length; at += 100) {
        if (msPerKb > 0) clock.advance(msPerKb / 10);
        if (signal.aborted) throw new BackendError('cancelled', name, 'out of time');
        const chunk = whole.subarray(at, at + 100);
        egress[name]! += chunk.length;
        yield misread?.(name, chunk) ?? chunk;
      }
    }
  };
  return {
    ...inner,
    async get(key, options: GetOptions = {}, cancel) {
      calls.push(`${name} get ${options.range?.join('-') ?? 'all'}${options.isFresh ? ' fresh' : ''}`);
      refusing?.(name, 'get');
      const found = await inner.get(key, options, cancel);
      return { ...found, body: options.isFresh ? found.body : paced(found.body) };
    },
    async head(key, cancel) {
      calls.push(`${name} head`);
      refusing?.(name, 'head');
      return inner.head(key, cancel);
    },
  };
}

interface Turn {
  readonly msPerKb?: number;
  readonly lengthMs?: number;
  readonly windowBytes?: number;
  readonly holder?: string;
  readonly bytesPerSecond?: number;
}

/** A reader as one tick has it: it has a minute, and a kilobyte takes most of that. */
function newTurn({ msPerKb = 50_000, lengthMs = minuteMs, windowBytes = 300, holder, bytesPerSecond = 20 }: Turn = {}) {
  turns += 1;
  const startedAt = clock.now();
  const deadline = deadlineAt(startedAt + lengthMs, startedAt);
  const stop = new AbortController();
  const signal = new Proxy(stop.signal, {
    get: (target, name) => {
      if (name === 'aborted') return clock.now() >= deadline.cancelAt;
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const deps: CopyReaderDeps = {
    store,
    clock,
    log: silentLog,
    holder: holder ?? `turn-${turns}`,
    startedAt,
    deadline,
    signal: stop.signal,
    admission: createAdmission(10_000),
    windowBytes,
    backend: async (name) => slow(name, msPerKb, signal),
    budget: async () => ({
      refuses: (name, { egressBytes = 0 }) => (egress[name]! + egressBytes > limitBytes ? 'over-egress' : null),
      reserve: () => () => {},
    }),
    bytesPerSecond: () => bytesPerSecond,
  };
  return createCopyReader(deps);
}

function bytesOn(backend: string, more: Partial<StoredBytes> = {}): StoredBytes {
  return {
    backend,
    storageKey: 'k!01BX5ZZKBKACTAV9WEVGEMMVRZ',
    key: 'k',
    generation: '01BX5ZZKBKACTAV9WEVGEMMVRY',
    sizeBytes,
    sha256: rightHash,
    ...more,
  };
}

function unhashed(backend: string): StoredBytes {
  const { sha256: _, ...rest } = bytesOn(backend);
  return rest;
}

function putOn(name: string, bytes: Uint8Array = content, options: Parameters<MemoryBackend['putNow']>[2] = {}) {
  memory[name]!.putNow(bytesOn(name).storageKey, bytes, options);
}

/** Turn after turn, a few minutes apart, until it ends. */
async function readUntil(bytes: StoredBytes, options?: ReadOptions, turn?: Turn, most = 200): Promise<Reading> {
  for (let i = 0; i < most; i += 1) {
    const reading = await newTurn(turn).read(bytes, options);
    if (reading.outcome !== 'reading') return reading;
    clock.advance(5 * minuteMs);
  }
  throw new Error(`not ended after ${most} turns`);
}

function rowOf(backend: string): Record<string, unknown> | undefined {
  return store.control(readingKey(backend, bytesOn(backend).storageKey)).then(({ rows }) => rows[0]?.data) as never;
}

test('bytes whose reading takes forty turns are read to their end, and each byte once', async () => {
  putOn('a');
  const reading = await readUntil(bytesOn('a'));
  expect(reading).toMatchObject({ outcome: 'good', sha256: rightHash, isAged: true });
  expect(turns).toBeGreaterThanOrEqual(35);
  expect(turns).toBeLessThanOrEqual(60);
  expect(egress.a).toBe(sizeBytes);
});

test.each([0, 900, 5000])(
  'the first %i bytes are given with a read that took forty turns, and are not read again',
  async (firstBytes) => {
    putOn('a');
    const first = content.subarray(0, firstBytes);
    const reading = await readUntil(bytesOn('a'), { firstBytes });
    expect(reading).toMatchObject({ outcome: 'good', isAged: true });
    expect(Buffer.from((reading as GoodReading).first!)).toEqual(first);
    const again = await newTurn().read(bytesOn('a'), { firstBytes });
    expect(Buffer.from((again as GoodReading).first!)).toEqual(first);
    expect(egress.a).toBe(sizeBytes);
  },
);

test('whoever wants the first bytes does not go on where they were not kept', async () => {
  putOn('a');
  await newTurn().read(bytesOn('a'));
  const behind = egress.a!;
  const reading = await readUntil(bytesOn('a'), { firstBytes: 10 });
  expect(Buffer.from((reading as GoodReading).first!)).toEqual(content.subarray(0, 10));
  expect(egress.a).toBe(behind + sizeBytes);
});

test('what fits into a turn is read in one request, and leaves no row', async () => {
  putOn('a');
  const reading = await newTurn({ msPerKb: 1, bytesPerSecond: 0 }).read(bytesOn('a'));
  expect(reading.outcome).toBe('good');
  expect(calls).toEqual(['a get all']);
  expect(await rowOf('a')).toBeUndefined();
});

test('a read that was thought to fit is gone on with by the turns behind the one that it was cut in', async () => {
  putOn('a');
  const reading = await readUntil(bytesOn('a'), {}, { bytesPerSecond: 0 });
  if (reading.outcome === 'put-off')
    expect((await readUntil(bytesOn('a'), {}, { bytesPerSecond: 0 })).outcome).toBe('good');
  expect(egress.a).toBeLessThanOrEqual(sizeBytes * 1.1);
});

test('a good read that took many turns holds for a day, as long as the backend shows the same ETag', async () => {
  putOn('a');
  await readUntil(bytesOn('a'));
  const before = egress.a!;
  clock.advance(23 * hourMs);
  calls = [];
  expect(await newTurn().read(bytesOn('a'))).toMatchObject({ outcome: 'good', isAged: true });
  expect(calls).toEqual(['a head']);
  expect(egress.a).toBe(before);
  expect((await newTurn().read(bytesOn('a'), { agesUpToMs: hourMs })).outcome).toBe('reading');
});

test('a good read is no older than a day', async () => {
  putOn('a');
  await readUntil(bytesOn('a'));
  clock.advance(dayMs);
  expect((await newTurn().read(bytesOn('a'))).outcome).toBe('reading');
});

test.each([
  ['of another write', { generation: '01BX5ZZKBKACTAV9WEVGEMMVRX' }],
  ['with another hash', { sha256: '0'.repeat(64) }],
])('a good read is none of bytes %s', async (_, more) => {
  putOn('a');
  await readUntil(bytesOn('a'));
  expect((await newTurn().read(bytesOn('a', more))).outcome).toBe('reading');
});

test('a good read holds no longer than the bytes stand there', async () => {
  putOn('a');
  await readUntil(bytesOn('a'));
  memory.a!.deleteNow(bytesOn('a').storageKey);
  expect(await newTurn().read(bytesOn('a'))).toEqual({ outcome: 'missing' });
});

test('bytes that were replaced between two turns are read anew, not spliced', async () => {
  putOn('a', Buffer.concat([content.subarray(0, sizeBytes / 2), Buffer.alloc(sizeBytes / 2)]));
  for (let i = 0; i < 25; i += 1) await newTurn().read(bytesOn('a'));
  putOn('a', Buffer.concat([Buffer.alloc(sizeBytes / 2), content.subarray(sizeBytes / 2)]));
  expect((await readUntil(bytesOn('a'))).outcome).toBe('wrong');
});

test('a plain file whose ETag is another has changed, whatever was read of it before', async () => {
  putOn('a', content, { etag: '"one"' });
  const bytes = bytesOn('a', { etag: '"one"' });
  for (let i = 0; i < 5; i += 1) await newTurn().read(bytes);
  putOn('a', content, { etag: '"two"' });
  expect(await newTurn().read(bytes)).toEqual({ outcome: 'changed' });
});

test('what another turn reads is left to it, until its claim runs out', async () => {
  putOn('a');
  const lengthMs = 10 * minuteMs;
  const first = newTurn({ lengthMs });
  let other: Reading | undefined;
  refusing = (_, call) => {
    if (call !== 'get' || other !== undefined) return;
    other = { outcome: 'missing' };
    void newTurn({ holder: 'other' })
      .read(bytesOn('a'))
      .then((reading) => {
        other = reading;
      });
  };
  await first.read(bytesOn('a'));
  expect(other).toMatchObject({ outcome: 'reading' });
});

test('a turn that never came back costs what it had not saved, once its claim has run out', async () => {
  putOn('a');
  for (let i = 0; i < 3; i += 1) await newTurn().read(bytesOn('a'));
  const saved = egress.a!;
  // It dies in the midst of a window: nothing is written down.
  const dying = newTurn();
  const write = store.write.bind(store);
  let isDead = false;
  refusing = (_, call) => {
    isDead ||= call === 'get';
  };
  store.write = async (change) => {
    if (isDead) throw new StoreError('unreachable', 'the process is gone');
    return write(change);
  };
  await dying.read(bytesOn('a')).catch(() => {});
  store.write = write;
  refusing = undefined;
  const lost = egress.a! - saved;
  expect((await newTurn().read(bytesOn('a'))).outcome).toBe('reading');
  clock.advance(2 * minuteMs);
  expect((await readUntil(bytesOn('a'))).outcome).toBe('good');
  expect(egress.a).toBeLessThanOrEqual(sizeBytes + lost);
});

test('a save whose answer was lost is no reason to begin anew', async () => {
  putOn('a');
  let n = 0;
  const write = store.write.bind(store);
  store.write = async (change) => {
    const answer = await write(change);
    n += 1;
    if (n % 3 === 0) throw new StoreError('unanswered', 'the answer was lost');
    return answer;
  };
  let reading: Reading = { outcome: 'reading', readBytes: 0 };
  for (let i = 0; i < 100 && reading.outcome === 'reading'; i += 1) {
    reading = await newTurn().read(bytesOn('a'));
    clock.advance(5 * minuteMs);
  }
  expect(reading.outcome).toBe('good');
  expect(egress.a).toBeLessThanOrEqual(sizeBytes * 1.1);
});

test('a usage limit that binds in the midst keeps the place until the month allows more', async () => {
  putOn('a');
  limitBytes = sizeBytes / 2;
  let reading = await readUntil(bytesOn('a'));
  expect(reading).toEqual({ outcome: 'put-off', reason: 'over-egress' });
  const before = egress.a!;
  expect(before).toBeGreaterThan(sizeBytes / 3);
  clock.advance(30 * dayMs);
  limitBytes = Number.POSITIVE_INFINITY;
  reading = await readUntil(bytesOn('a'));
  expect(reading.outcome).toBe('good');
  expect(egress.a).toBe(sizeBytes);
});

test('what is missing is asked for again on a connection of its own', async () => {
  refusing = (_, call) => {
    if (call === 'get' && calls.at(-1)?.includes('fresh') !== true)
      throw new BackendError('not-found', 'a', 'a cache between us says so');
  };
  putOn('a');
  const reading = await newTurn({ msPerKb: 1, bytesPerSecond: 0 }).read(bytesOn('a'));
  expect(reading.outcome).toBe('unreadable');
  expect(calls).toContain('a get 0-0 fresh');
});

test('a copy that cannot be read is let rest, longer each time, where that is asked for', async () => {
  putOn('a');
  const read = () => newTurn({ msPerKb: 1, bytesPerSecond: 0 }).read(bytesOn('a'), { remembers: true });
  refusing = () => {
    throw new BackendError('denied', 'a', 'not this one');
  };
  expect((await read()).outcome).toBe('unreadable');
  calls = [];
  expect(await read()).toEqual({ outcome: 'put-off', reason: 'backing-off' });
  expect(calls).toEqual([]);
  clock.advance(minuteMs);
  expect((await read()).outcome).toBe('unreadable');
  clock.advance(minuteMs);
  expect(await read()).toEqual({ outcome: 'put-off', reason: 'backing-off' });
  clock.advance(minuteMs);
  refusing = undefined;
  expect((await read()).outcome).toBe('good');
  expect(await rowOf('a')).toBeUndefined();
});

test('throttling, and credentials that this process lacks, put nothing off', async () => {
  putOn('a');
  for (const kind of ['throttled', 'missing-credentials'] as const) {
    refusing = () => {
      throw new BackendError(kind, 'a', 'not now');
    };
    expect((await newTurn().read(bytesOn('a'), { remembers: true })).outcome).toBe('unreadable');
  }
  refusing = undefined;
  expect((await readUntil(bytesOn('a'))).outcome).toBe('good');
});

test('a connection that breaks in the midst of a window is gone on with where it broke', async () => {
  putOn('a');
  let left = 2;
  misread = (_, chunk) => {
    if (left > 0 && egress.a! % 1500 === 0) {
      left -= 1;
      throw new BackendError('truncated', 'a', 'the connection ended');
    }
    return chunk;
  };
  expect((await readUntil(bytesOn('a'))).outcome).toBe('good');
  expect(left).toBe(0);
  expect(egress.a).toBeLessThanOrEqual(sizeBytes + 2 * 100);
});

test('what breaks off after the last byte has cost nothing', async () => {
  putOn('a');
  const reader = newTurn({ msPerKb: 1, lengthMs: hourMs, bytesPerSecond: 1 });
  let isBroken = false;
  const { get } = memory.a!;
  memory.a!.get = async (...args) => {
    const found = await get(...args);
    const { body } = found;
    const broken = async function* () {
      yield* body;
      isBroken = true;
      throw new BackendError('truncated', 'a', 'the connection ended');
    };
    return { ...found, body: broken() };
  };
  expect((await reader.read(bytesOn('a'))).outcome).toBe('good');
  expect([isBroken, egress.a]).toEqual([true, sizeBytes]);
});

test('a backend that sends a few bytes and breaks off, again and again, is not asked for each of them', async () => {
  putOn('a');
  let left = 100;
  const { get } = memory.a!;
  memory.a!.get = async (key, options, cancel) => {
    const found = await get(key, options, cancel);
    const { body } = found;
    const trickle = async function* () {
      for await (const whole of body) {
        yield whole.subarray(0, 1);
        left -= 1;
        if (left < 0) throw new Error('asked for each byte');
        throw new BackendError('truncated', 'a', 'the connection ended');
      }
    };
    return { ...found, body: trickle() };
  };
  const reading = await newTurn({ msPerKb: 0, lengthMs: hourMs, bytesPerSecond: 1 }).read(bytesOn('a'));
  expect(reading.outcome).toBe('unreadable');
  expect(left).toBeGreaterThan(90);
});

test.each<readonly [string, Record<string, unknown>]>([
  ['at its very end', { position: sizeBytes }],
  ['behind its end', { position: sizeBytes + 1 }],
  ['before its beginning', { position: -5 }],
  ['between two bytes', { position: 1.5 }],
  ['at no number', { position: null }],
  ['without a hash', { hashState: '' }],
  ['with a hash of another version', { hashState: Buffer.alloc(116, 7).toString('base64') }],
  ['with a hash that is none', { hashState: '!' }],
  ['with a hash over other bytes', { position: 7, isWrongOnce: true }],
])('progress that was kept %s is not gone on from for ever', async (_, odd) => {
  putOn('a');
  for (let i = 0; i < 3; i += 1) {
    await newTurn().read(bytesOn('a'));
    clock.advance(5 * minuteMs);
  }
  const pk = readingKey('a', bytesOn('a').storageKey);
  const [row] = (await store.control(pk)).rows;
  const { isWrongOnce = false, ...change } = odd;
  const progress = { ...(row!.data.progress as object), ...change };
  const put = { ...row!, version: row!.version + 1, data: { ...row!.data, progress } };
  await store.write({ kind: 'row', put, expect: row!.version });
  const first = await readUntil(bytesOn('a'));
  expect(first.outcome).toBe(isWrongOnce ? 'wrong' : 'good');
  expect((await readUntil(bytesOn('a'))).outcome).toBe('good');
});

describe('several copies side by side', () => {
  const both = () => [bytesOn('a'), bytesOn('b')];

  test('none is read again while another takes many turns', async () => {
    putOn('a');
    putOn('b');
    const quick = (turn: Turn): CopyReader => newTurn(turn);
    for (let i = 0; i < 100; i += 1) {
      const all = await quick({ bytesPerSecond: 20 }).readAll(both());
      if (all.outcome === 'good') {
        expect(egress.a).toBeLessThanOrEqual(sizeBytes * 1.1);
        expect(egress.b).toBeLessThanOrEqual(sizeBytes * 1.1);
        return;
      }
      expect(all.reading.outcome).toBe('reading');
      clock.advance(5 * minuteMs);
    }
    throw new Error('not ended');
  });

  test('one that is not there, or has another size, is found out before any is read', async () => {
    putOn('a');
    const missing = await newTurn({ msPerKb: 1 }).readAll(both());
    expect(missing).toMatchObject({ outcome: 'not-good', of: { backend: 'b' }, reading: { outcome: 'missing' } });
    putOn('b', content.subarray(1));
    const wrong = await newTurn({ msPerKb: 1 }).readAll(both());
    expect(wrong).toMatchObject({ outcome: 'not-good', of: { backend: 'b' }, reading: { outcome: 'wrong' } });
    expect(egress).toEqual({ a: 0, b: 0 });
  });

  test('while one backs off the others are not read', async () => {
    putOn('a');
    putOn('b');
    refusing = (name, call) => {
      if (name === 'b' && call === 'get') throw new BackendError('denied', 'b', 'not this one');
    };
    const readAll = () => newTurn({ msPerKb: 1, bytesPerSecond: 0 }).readAll(both());
    expect(await readAll()).toMatchObject({ reading: { outcome: 'unreadable' } });
    const once = egress.a!;
    expect(await readAll()).toMatchObject({ of: { backend: 'b' }, reading: { reason: 'backing-off' } });
    expect(egress.a).toBe(once);
  });
});

describe('the first hash of bytes whose hash is recorded nowhere', () => {
  const flipOnce = () => {
    let left = 1;
    misread = (_, chunk) => {
      if (left === 0 || egress.a! < 20_000) return chunk;
      left -= 1;
      return Buffer.from(chunk.map((byte, i) => (i === 0 ? byte ^ 1 : byte)));
    };
  };
  const partEtag = (partBytes: number) => {
    const parts = Array.from({ length: Math.ceil(sizeBytes / partBytes) }, (_, i) =>
      createHash('md5')
        .update(content.subarray(i * partBytes, (i + 1) * partBytes))
        .digest(),
    );
    return `"${createHash('md5').update(Buffer.concat(parts)).digest('hex')}-${parts.length}"`;
  };
  const kinds: readonly [string, Parameters<MemoryBackend['putNow']>[2], number][] = [
    ['an MD5', {}, 1],
    ['that of parts', { etag: partEtag(7000), firstPartBytes: 7000 }, 1],
    ['that of parts that nobody can tell', { etag: partEtag(7000) }, 2],
    ['an MD5 of something else', { etag: `"${'0'.repeat(32)}"` }, 2],
    ['no hash at all', { etag: '"x"' }, 2],
  ];

  test.each(kinds)('is proven by as many reads as an ETag that is %s asks for', async (_, options, reads) => {
    putOn('a', content, options);
    expect(await readUntil(unhashed('a'))).toMatchObject({ outcome: 'good', sha256: rightHash });
    expect(egress.a).toBe(reads * sizeBytes);
    const fast = await newTurn({ msPerKb: 1, bytesPerSecond: 0 }).read(unhashed('a'), { agesUpToMs: 0 });
    expect(fast).toMatchObject({ outcome: 'good', sha256: rightHash });
  });

  test.each(kinds)('is never that of a misread, where the ETag is %s', async (_, options) => {
    for (const turn of [{}, { msPerKb: 1, bytesPerSecond: 0 }]) {
      putOn('a', content, options);
      flipOnce();
      egress.a = 0;
      const reading = await readUntil(unhashed('a'), { agesUpToMs: 0 }, turn);
      if (reading.outcome === 'good') expect(reading.sha256).toBe(rightHash);
      else expect(reading.outcome).toBe('unreadable');
      clock.advance(hourMs);
      const again = await readUntil(unhashed('a'), { agesUpToMs: 0 }, turn);
      expect(again).toMatchObject({
        outcome: 'good',
        sha256: rightHash,
      });
    }
  });
});

test('an empty object is read', async () => {
  putOn('a', new Uint8Array());
  const empty = { sizeBytes: 0, sha256: createHash('sha256').digest('hex') };
  expect((await newTurn().read(bytesOn('a', empty))).outcome).toBe('good');
});

test('an empty object that is gone, or refused, is found to be so, and not asked for without an end', async () => {
  const empty = { sizeBytes: 0, sha256: createHash('sha256').digest('hex') };
  const mostCalls = 20;
  refusing = () => {
    if (calls.length > mostCalls) throw new Error('it goes on for ever');
  };
  expect(await newTurn().read(bytesOn('a', empty))).toEqual({ outcome: 'missing' });
  refusing = (name) => {
    if (calls.length > mostCalls) throw new Error('it goes on for ever');
    throw new BackendError('denied', name, 'no');
  };
  calls = [];
  expect((await newTurn().read(bytesOn('a', empty))).outcome).toBe('unreadable');
});
