import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { runCommandLine } from '../../lib/cli/main.ts';
import { bareEnv, type CliLab, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 2 });
  await lab.json(['init']);
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => lab.close());

interface Located {
  readonly sha256: string;
  readonly copies: readonly { readonly backend: string; readonly copyId: string; readonly storageKey: string }[];
}

test('put stores a file, locate says where its bytes are, get gives them back', async () => {
  const content = randomBytes(300_000);
  writeFileSync(join(lab.dir, 'in.bin'), content);

  const put = await lab.json(['put', 'files/in.bin', 'in.bin', '--content-type', 'image/x', '--meta', 'By=me']);
  const located = await lab.json<Located>(['locate', 'files/in.bin']);
  const got = await lab.json(['get', 'files/in.bin', 'out.bin']);

  const sha256 = createHash('sha256').update(content).digest('hex');
  expect(put).toMatchObject({ key: 'files/in.bin', sizeBytes: 300_000, sha256 });
  expect(located).toMatchObject({ key: 'files/in.bin', sizeBytes: 300_000, sha256, rev: 1 });
  const [copy] = located.copies;
  expect(copy!.storageKey).toBe(`files/in.bin!${copy!.copyId}`);
  const backend = lab.stack.backends.find(({ name }) => name === copy!.backend)!;
  expect(readFileSync(backend.server.objectPath(backend.bucket, copy!.storageKey))).toEqual(content);
  expect(got).toMatchObject({ sha256, headers: { contentType: 'image/x' }, metadata: { by: 'me' }, file: 'out.bin' });
  expect(readFileSync(join(lab.dir, 'out.bin'))).toEqual(content);
});

test('put reads stdin and get writes to stdout, byte for byte', async () => {
  const content = randomBytes(1_000_000);

  await lab.spawn(['put', 'piped'], { stdin: content });
  const got = await lab.spawn(['get', 'piped']);

  expect(got.code).toBe(0);
  expect(got.bytes.equals(content)).toBe(true);
});

test('an empty object is an object', async () => {
  expect(await lab.json(['put', 'empty'])).toMatchObject({ sizeBytes: 0 });
  await lab.json(['get', 'empty', 'empty.out']);
  expect(readFileSync(join(lab.dir, 'empty.out'))).toHaveLength(0);
});

test('ls lists by prefix in UTF-8 order, and rm takes objects out of it [lists-in-byte-order]', async () => {
  for (const key of ['list/b', 'list/ä', 'list/a']) await lab.holdfast.put(key, key);
  const keys = async () => (await lab.json<{ key: string }[]>(['ls', 'list/'])).map(({ key }) => key);

  const before = await keys();
  const removed = await lab.json(['rm', 'list/b']);
  const again = await lab.json(['rm', 'list/b']);

  expect(before).toEqual(['list/a', 'list/b', 'list/ä']);
  expect(removed).toEqual({ key: 'list/b', deleted: true });
  expect(again).toEqual({ key: 'list/b', deleted: false });
  expect(await keys()).toEqual(['list/a', 'list/ä']);
  const gone = await lab.run(['get', 'list/b']);
  expect(gone.code).toBe(1);
  expect(gone.stderr).toBe('error: There is no object "list/b"\n');
});

test('a key that begins with a dash goes behind two', async () => {
  expect((await lab.run(['put', '--', '-dash'], { stdin: 'x' })).code).toBe(0);
  expect((await lab.run(['get', '--', '-dash'])).stdout).toBe('x');
});

test('get leaves neither a file nor a trace of one when the bytes are wrong', async () => {
  await lab.holdfast.put('spoiled', randomBytes(100_000));
  writeFileSync(join(lab.dir, 'kept.bin'), 'what was there');
  for (const { server } of lab.stack.backends) {
    server.faults.add({ kind: 'corrupt', match: { operation: 'GetObject', keyPrefix: 'spoiled' }, id: 'spoil' });
  }

  const toNew = await lab.run(['get', 'spoiled', 'new.bin'], { env: { HOLDFAST_LOG: 'silent' } });
  const toKept = await lab.run(['get', 'spoiled', 'kept.bin', '--json'], { env: { HOLDFAST_LOG: 'silent' } });

  for (const { server } of lab.stack.backends) server.faults.clear('spoil');
  expect(toNew.code).toBe(1);
  expect(toNew.stderr).toMatch(/^error: Cannot read "spoiled": none of its copies can be read and verified now: /);
  expect(toKept.json()).toMatchObject({ kind: 'unreadable' });
  expect(existsSync(join(lab.dir, 'new.bin'))).toBe(false);
  expect(readFileSync(join(lab.dir, 'kept.bin'), 'utf8')).toBe('what was there');
  expect(readdirSync(lab.dir).filter((name) => name.endsWith('.part'))).toEqual([]);
});

test.each([
  [['put', 'late'], /^put late /],
  [['undelete', 'never'], /^error: /],
] as const)('a signal that comes once %j has said how it ended says nothing against it', async (args, says) => {
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  let written = '';
  const stream = () =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        const isFirst = written === '';
        written += chunk.toString();
        if (isFirst) process.emit('SIGINT', 'SIGINT');
        done();
      },
    });
  const stdin = Readable.from([Buffer.from('content')]);
  await runCommandLine(args, { env: bareEnv(lab.stack.env), stdin, stdout: stream(), stderr: stream() });
  expect(exit.mock.calls).toEqual([[130]]);
  expect(written).toMatch(says);
  expect(written).not.toContain('SIGINT');
});
