import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Body, collect } from '../../lib/base/bytes.ts';
import { createClient } from '../../lib/client/client.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const big = Buffer.alloc(9 * 2 ** 20, 'big content, ');
const dir = mkdtempSync(join(tmpdir(), 'holdfast-get-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Flips a bit of a recorded copy, and nothing else. */
function rot(fleet: TestFleet, key: string, backend: string, at = 0): void {
  const storage = `${key}!${fleet.object(key).copies[backend]}`;
  const { bytes, headers, metadata } = fleet.backends[backend]!.peek(storage)!;
  const rotten = Buffer.from(bytes);
  rotten[at]! ^= 1;
  fleet.backends[backend]!.putNow(storage, rotten, { headers, metadata });
}

async function twoCopies(content: Uint8Array = big): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', content);
  await fleet.tick('replicator');
  return fleet;
}

const contentOf = async (fleet: TestFleet) => collect((await fleet.client.get('k'))!.body);

test('a big object whose first copy is wrong fails once, naming it, and is then read from another', async () => {
  const fleet = await twoCopies();
  rot(fleet, 'k', 'a');
  await expect(contentOf(fleet)).rejects.toMatchObject({
    kind: 'unreadable',
    message: expect.stringMatching(/^Cannot read "k": read from "a", the content has SHA-256 .* is recorded$/),
  });
  for (let i = 0; i < 5; i += 1) expect((await contentOf(fleet)).equals(big)).toBe(true);
});

test('a file is written from another copy when the first one proves wrong at its end [files-appear-whole]', async () => {
  const fleet = await twoCopies();
  rot(fleet, 'k', 'a', big.length - 1);
  const path = join(dir, 'whole');
  expect(await fleet.client.getFile('k', path)).toMatchObject({ key: 'k', sizeBytes: big.length });
  expect(readFileSync(path).equals(big)).toBe(true);
  expect(readdirSync(dir)).toEqual(['whole']);
  rmSync(path);
});

test('when every copy is wrong no file appears, and the error says what is wrong with each', async () => {
  const fleet = await twoCopies();
  rot(fleet, 'k', 'a');
  rot(fleet, 'k', 'b');
  await expect(fleet.client.getFile('k', join(dir, 'none'))).rejects.toMatchObject({
    kind: 'unreadable',
    message: expect.stringMatching(/^Cannot read "k": no copy verifies: read from "a", .*; read from "b", /),
  });
  expect(readdirSync(dir)).toEqual([]);
});

test('an object that is replaced while it is read into a file is read anew', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', big);
  const other = Buffer.alloc(big.length, 'other');
  const { a } = fleet.backends;
  const { get } = a!;
  a!.get = async (key, options, signal) => {
    const found = await get(key, options, signal);
    a!.get = get;
    return { ...found, body: brokenOff(found.body, () => fleet.newClient().put('k', other)) };
  };
  const path = join(dir, 'anew');
  await fleet.client.getFile('k', path);
  expect(readFileSync(path).equals(other)).toBe(true);
  rmSync(path);
});

async function* brokenOff(body: Body, meanwhile: () => Promise<unknown>): Body {
  const bytes = await collect(body);
  yield bytes.subarray(0, 1_000_000);
  await meanwhile();
  throw new BackendError('truncated', 'a', 'the body was cut');
}

test('a copy that was misread once is read again after a while, and never hides an only copy [wrong-copies-remembered]', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', big);
  rot(fleet, 'k', 'a');
  await expect(contentOf(fleet)).rejects.toMatchObject({ kind: 'unreadable' });
  rot(fleet, 'k', 'a');
  expect((await contentOf(fleet)).equals(big)).toBe(true);
});

test('rot in a big encrypted copy is not taken for a missing key', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    encryption: { rawKeyEnv: 'FLEET_KEY' },
    policies: { default: { factor: 2, encrypt: true } },
    env: { FLEET_KEY: randomBytes(32).toString('base64') },
  });
  await fleet.client.put('k', big);
  await fleet.tick('replicator');
  rot(fleet, 'k', 'a', 1000);
  const path = join(dir, 'decrypted');
  await fleet.client.getFile('k', path);
  expect(readFileSync(path).equals(big)).toBe(true);
  rmSync(path);
  rot(fleet, 'k', 'b', 1000);
  await expect(fleet.newClient().getFile('k', path)).rejects.toMatchObject({ kind: 'unreadable' });
});

test.each([big, Buffer.from('small')])(
  'a wrong copy that a reader met is quarantined by the next scrub',
  async (content) => {
    const fleet = await twoCopies(content);
    await fleet.tick('scrubber');
    rot(fleet, 'k', 'a');
    await fleet.newClient().getFile('k', join(dir, 'checked'));
    expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b']);
    // Long before the cycle comes by again.
    fleet.clock.advance(60_000);
    expect(await fleet.tick('scrubber')).toMatchObject({ reasons: { quarantined: 1 } });
    expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
    expect((await fleet.store.control('checks')).rows).toEqual([]);
    rmSync(join(dir, 'checked'));
  },
);

test.each(['its MD5', 'an ETag that tells nothing'])(
  'of a big file that nobody hashed yet no reader is given what was misread, with %s as its ETag',
  async (kind) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
    fleet.backends.a!.putNow('k', big, kind === 'its MD5' ? {} : { etag: '"of-parts-2"' });
    fleet.clock.advance(2 * 3_600_000);
    await fleet.tick('reconciler');
    expect(fleet.object('k').sha256).toBeUndefined();
    let misreads = 1;
    const client = createClient({
      ...fleet.deps,
      openBackend: async ({ name }) => {
        const backend = fleet.backends[name]!;
        return {
          ...backend,
          get: async (key, options, signal) => {
            const found = await backend.get(key, options, signal);
            if (key !== 'k' || misreads === 0) return found;
            misreads -= 1;
            return { ...found, body: flippedOnce(found.body) };
          },
        };
      },
    });
    const given = await client.get('k');
    await expect(collect(given!.body)).rejects.toMatchObject({ kind: 'unreadable' });
    misreads = 1;
    const read = await client.read('k', ({ body }) => collect(body)).catch((error: Error) => error.message);
    // There is one copy alone: it is not asked twice in one call.
    expect(read).toContain('no copy verifies');
    expect((await client.read('k', ({ body }) => collect(body)))!.equals(big)).toBe(true);
  },
);

test('a big file that nobody hashed, whose second reading fails, is unreadable by a word of ours', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('k', big, { etag: '"of-parts-2"' });
  fleet.clock.advance(2 * 3_600_000);
  await fleet.tick('reconciler');
  let reads = 0;
  fleet.before = ({ port, method, args }) => {
    if (port !== 'a' || method !== 'get' || args[0] !== 'k') return;
    reads += 1;
    if (reads === 2) throw new BackendError('unavailable', 'a', 'no');
  };
  const given = await fleet.newClient().get('k');
  await expect(collect(given!.body)).rejects.toMatchObject({ name: 'HoldfastError', kind: 'unreadable' });
});

async function* flippedOnce(body: Body): Body {
  let isFirst = true;
  for await (const chunk of body) {
    if (!isFirst) yield chunk;
    else yield Buffer.concat([Buffer.from([chunk[0]! ^ 1]), chunk.subarray(1)]);
    isFirst = false;
  }
}
