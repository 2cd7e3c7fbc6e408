import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { lockFolder } from '../../lib/local/folder-lock.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { type CliLab, startCli } from './kit.ts';

let lab: CliLab;
let s3: S3Client;
const content = new Map<string, Buffer>([
  ['docs/a.txt', Buffer.from('first')],
  ['docs/deep/b.bin', randomBytes(300_000)],
  ['empty', Buffer.alloc(0)],
  ['ümlaut/日本', Buffer.from('unicode')],
]);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

beforeAll(async () => {
  lab = await startCli({ backends: 2 });
  await lab.json(['init']);
  for (const [key, bytes] of content)
    await lab.holdfast.put(key, bytes, { headers: { contentType: 'text/x' }, metadata: { colour: 'grey' } });
  await lab.json(['tick', 'replicator']);
  const raw = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8')) as {
    backends: { endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } }[];
  };
  const { endpoint, credentials } = raw.backends[0]!;
  s3 = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
  const { CreateBucketCommand } = await import('@aws-sdk/client-s3');
  await s3.send(new CreateBucketCommand({ Bucket: 'leaving' }));
});
afterAll(async () => {
  s3.destroy();
  await lab.close();
});

interface Done {
  readonly done: number;
  readonly same: number;
  readonly isComplete: boolean;
  readonly problems: readonly { readonly name: string; readonly why: string }[];
}

interface Line {
  readonly key: string;
  readonly name: string;
  readonly sha256: string;
  readonly headers: object;
  readonly metadata: object;
}

const manifestOf = (folder: string): Line[] =>
  readFileSync(join(lab.dir, folder, '.holdfast-export', 'manifest.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

test('everything goes into a folder under its plain name, with a manifest; again, nothing is written [exports-are-plain]', async () => {
  expect(await lab.json<Done>(['export', '', 'out'])).toMatchObject({ done: 4, same: 0, isComplete: true });
  for (const [key, bytes] of content) expect(readFileSync(join(lab.dir, 'out', key))).toEqual(bytes);
  const lines = manifestOf('out');
  expect(lines.map(({ key }) => key)).toEqual([...content.keys()].sort());
  for (const { key, name, sha256: hash, headers, metadata } of lines) {
    expect({ name, hash }).toEqual({ name: key, hash: sha256(content.get(key)!) });
    expect({ headers, metadata }).toEqual({ headers: { contentType: 'text/x' }, metadata: { colour: 'grey' } });
  }
  expect(await lab.json<Done>(['export', '', 'out'])).toMatchObject({ done: 0, same: 4, isComplete: true });
});

test('an export that was cut short goes on; what was overwritten since goes over its own file, and over nobody else’s [exports-spare-others]', async () => {
  await lab.json(['export', 'docs/', 'cut']);
  // The crash came before the manifest was whole, and in the middle of a line.
  const manifest = join(lab.dir, 'cut', '.holdfast-export', 'manifest.jsonl');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').slice(0, -40));
  await lab.holdfast.put('docs/a.txt', 'second');
  writeFileSync(join(lab.dir, 'cut', 'mine'), 'of somebody');
  await lab.holdfast.put('mine', 'of the fleet');
  const ran = await lab.run(['export', '', 'cut', '--json']);
  await lab.holdfast.delete('mine');
  expect(ran.code).toBe(1);
  expect(ran.json<Done>()).toMatchObject({ done: 3, same: 1 });
  expect(ran.json<Done>().problems).toEqual([{ name: 'mine', why: expect.stringContaining('did not write') }]);
  expect(readFileSync(join(lab.dir, 'cut', 'mine'), 'utf8')).toBe('of somebody');
  expect(readFileSync(join(lab.dir, 'cut', 'docs/a.txt'), 'utf8')).toBe('second');
  // Changed by its owner since: theirs.
  writeFileSync(join(lab.dir, 'cut', 'docs/a.txt'), 'edited');
  await lab.holdfast.put('docs/a.txt', 'first', { headers: { contentType: 'text/x' }, metadata: { colour: 'grey' } });
  const again = await lab.run(['export', 'docs/a.txt', 'cut', '--json']);
  expect(again.json<Done>().problems).toHaveLength(1);
  expect(readFileSync(join(lab.dir, 'cut', 'docs/a.txt'), 'utf8')).toBe('edited');
});

test('keys that are no names of files write nothing outside the folder, and are found in the manifest [files-stay-inside]', async () => {
  const hostile = [
    'hostile/../../../escaped',
    'hostile/nul\u0000',
    'hostile/a',
    'hostile/a/b',
    'hostile//x',
    'hostile/link/z',
  ];
  for (const key of hostile) await lab.holdfast.put(key, `content of ${key}`);
  mkdirSync(join(lab.dir, 'nest', 'in', 'hostile'), { recursive: true });
  mkdirSync(join(lab.dir, 'nest', 'elsewhere'));
  symlinkSync(join(lab.dir, 'nest', 'elsewhere'), join(lab.dir, 'nest', 'in', 'hostile', 'link'));
  const ran = await lab.run(['export', 'hostile/', 'nest/in', '--json']);
  for (const key of hostile) await lab.holdfast.delete(key);
  expect(ran.code).toBe(1);
  const { done, problems } = ran.json<Done>();
  // Of a file and what would be below it one has its name.
  expect(done).toBe(1);
  expect(problems).toHaveLength(5);
  expect(readdirSync(join(lab.dir, 'nest')).sort()).toEqual(['elsewhere', 'in']);
  expect(readdirSync(join(lab.dir, 'nest', 'elsewhere'))).toEqual([]);
  expect(existsSync(join(lab.dir, 'escaped'))).toBe(false);
  for (const { key, name } of manifestOf('nest/in'))
    expect(readFileSync(join(lab.dir, 'nest', 'in', name), 'utf8')).toBe(`content of ${key}`);
  expect(manifestOf('nest/in')).toHaveLength(hostile.length);
});

test('names that differ in case alone are both there, and named', async () => {
  await lab.holdfast.put('case/Readme', '1');
  await lab.holdfast.put('case/README', '2');
  const ran = await lab.run(['export', 'case/', 'cases', '--json']);
  for (const key of ['case/Readme', 'case/README']) await lab.holdfast.delete(key);
  expect(ran.json<Done>().problems).toHaveLength(1);
  const texts = manifestOf('cases').map(({ name }) => readFileSync(join(lab.dir, 'cases', name), 'utf8'));
  expect(texts.sort()).toEqual(['1', '2']);
});

const listed = async () =>
  ((await s3.send(new ListObjectsV2Command({ Bucket: 'leaving' }))).Contents ?? [])
    .map(({ Key }) => Key!)
    .filter((key) => !key.includes('.holdfast-export/'));

test('a bucket of a provider gets what it holds by copies within, the rest by bytes; without our mark, and over nothing [exports-are-plain]', async () => {
  await s3.send(new PutObjectCommand({ Bucket: 'leaving', Key: 'to/empty', Body: 'of somebody' }));
  for (const { server } of lab.stack.backends) server.requests.clear();
  const first = await lab.run(['export', '', 's3://leaving/to', '--backend', 'local-1', '--json']);
  expect(first.json<Done>().problems).toEqual([{ name: 'empty', why: expect.stringContaining('did not write') }]);
  expect(first.json<Done>()).toMatchObject({ done: 3 });
  expect(lab.stack.backends[0]!.server.requests.count({ operation: 'CopyObject' })).toBe(3);
  for (const [key, bytes] of content) {
    if (key === 'empty') continue;
    const { Body, ContentType, Metadata } = await s3.send(
      new GetObjectCommand({ Bucket: 'leaving', Key: `to/${key}` }),
    );
    expect(Buffer.from(await Body!.transformToByteArray())).toEqual(bytes);
    expect({ ContentType, Metadata }).toEqual({ ContentType: 'text/x', Metadata: { colour: 'grey' } });
  }
  expect(await listed()).toHaveLength(4);
  const { Metadata } = await s3.send(new HeadObjectCommand({ Bucket: 'leaving', Key: 'to/empty' }));
  expect(Metadata).toEqual({});
  const again = await lab.run(['export', '', 's3://leaving/to/', '--backend', 'local-1', '--json']);
  expect(again.json<Done>()).toMatchObject({ done: 0, same: 3 });
});

test('the manifest in a bucket tells its own objects from others: what was overwritten goes over its own alone [exports-spare-others]', async () => {
  await lab.holdfast.put('versions/one', 'old');
  await lab.holdfast.put('versions/two', 'old');
  const args = ['export', 'versions/', 's3://leaving/v', '--backend', 'local-1', '--json'];
  expect((await lab.run(args)).json<Done>()).toMatchObject({ done: 2 });
  await lab.holdfast.put('versions/one', 'new');
  await lab.holdfast.put('versions/two', 'new');
  await s3.send(new PutObjectCommand({ Bucket: 'leaving', Key: 'v/versions/two', Body: 'theirs' }));
  const ran = await lab.run(args);
  expect(ran.json<Done>()).toMatchObject({ done: 1, problems: [{ name: 'versions/two' }] });
  const read = async (Key: string) =>
    (await s3.send(new GetObjectCommand({ Bucket: 'leaving', Key }))).Body!.transformToString();
  expect(await read('v/versions/one')).toBe('new');
  expect(await read('v/versions/two')).toBe('theirs');
  for (const key of ['versions/one', 'versions/two']) await lab.holdfast.delete(key);
});

test('an export never goes where a backend is, by whatever name [exports-avoid-backends]', async () => {
  const refused = async (url: string, ...more: string[]) => {
    const ran = await lab.run(['export', '', url, '--backend', 'local-1', ...more]);
    expect(ran.code).toBe(2);
    return ran.stderr;
  };
  expect(await refused('s3://holdfast-local-1/anything')).toContain('overlaps backend "local-1"');
  expect(await refused('s3://holdfast-local-1')).toContain('overlaps backend "local-1"');
  expect(await refused('http://leaving')).toContain('--backend');
  // Of another fleet, which these tables know nothing of.
  await s3.send(new PutObjectCommand({ Bucket: 'leaving', Key: 'theirs/.holdfast/owner', Body: '{}' }));
  expect(await refused('s3://leaving/theirs/below')).toContain('belongs to a fleet');
});

const plainBucket = () => {
  const raw = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8')) as {
    backends: { endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } }[];
  };
  const { endpoint, credentials } = raw.backends[0]!;
  // Those of the AWS SDK are looked up in the process itself.
  vi.stubEnv('AWS_ACCESS_KEY_ID', credentials.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', credentials.secretAccessKey);
  return endpoint;
};

test('a bucket whose listing of manifests goes round ends the export before it writes anything', async () => {
  plainBucket();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.method!);
    const isAt1 = new URL(request.url!, 'http://a').searchParams.get('continuation-token') === '1';
    if (request.method !== 'GET' || asked.length > 100) return void response.writeHead(404).end();
    response.end(
      `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>${isAt1 ? 2 : 1}</NextContinuationToken></ListBucketResult>`,
    );
  });
  const endpoint = await listenOnLoopback(server);
  const ran = await lab.run(['export', '', 's3://round', '--endpoint', endpoint, '--region', 'us-east-1']);
  vi.unstubAllEnvs();
  server.closeAllConnections();
  server.close();
  expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('its pages go on without an end')]);
  expect(asked.filter((method) => method !== 'HEAD').length).toBeLessThan(10);
});

test.each([
  ['its own copies', ['--backend', 'local-1'], 'a copy within'],
  ['uploads', ['--endpoint'], 'an upload'],
])(
  'storage that refuses conditions gets everything by %s all the same, over nothing that is there, and one warning says so [exports-spare-others]',
  async (_how, flags, write) => {
    const endpoint = plainBucket();
    const [{ server }] = lab.stack.backends as [(typeof lab.stack.backends)[0]];
    const prefix = flags.includes('--endpoint') ? 'plain' : 'within';
    await s3.send(new PutObjectCommand({ Bucket: 'leaving', Key: `${prefix}/docs/a.txt`, Body: 'of somebody' }));
    for (const feature of ['conditional-put', 'conditional-copy', 'conditional-completion'] as const)
      server.faults.add({ kind: 'reject-feature', feature, id: feature, match: { bucket: 'leaving' } });
    const given = flags.includes('--endpoint') ? [...flags, endpoint, '--region', 'us-east-1'] : flags;
    const ran = await lab.run(['export', '', `s3://leaving/${prefix}`, ...given, '--json']);
    const again = await lab.run(['export', '', `s3://leaving/${prefix}`, ...given, '--json']);
    server.faults.clear();
    vi.unstubAllEnvs();

    expect(ran.json<Done>()).toMatchObject({ done: 3, problems: [{ name: 'docs/a.txt' }] });
    expect(again.json<Done>()).toMatchObject({ done: 0, same: 3, problems: [{ name: 'docs/a.txt' }] });
    expect(ran.stderr.match(/Storage takes no condition on a write/g)).toHaveLength(1);
    expect(ran.stderr).toContain(`"write":"${write}"`);
    for (const [key, bytes] of content) {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'leaving', Key: `${prefix}/${key}` }));
      const expected = key === 'docs/a.txt' ? Buffer.from('of somebody') : bytes;
      expect(Buffer.from(await Body!.transformToByteArray())).toEqual(expected);
    }
  },
);

test('what is wrong with a place is said of the place; a folder takes one export at a time, and no link for its manifest', async () => {
  const wrong = await lab.run(['export', '', 's3://b', '--endpoint', 'foo']);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toMatch(
    /^error: Cannot export to "s3:\/\/b": endpoint: "foo" is not an endpoint .*; bucket: "b" is/,
  );
  mkdirSync(join(lab.dir, 'two', '.holdfast-export'), { recursive: true });
  const unlock = lockFolder(join(lab.dir, 'two', '.holdfast-export'));
  const second = await lab.run(['export', '', 'two']);
  expect([second.code, second.stderr]).toEqual([1, expect.stringContaining(`is in use by process ${process.pid}`)]);
  unlock();
  writeFileSync(join(lab.dir, 'elsewhere.jsonl'), 'mine');
  symlinkSync(join(lab.dir, 'elsewhere.jsonl'), join(lab.dir, 'two', '.holdfast-export', 'manifest.jsonl'));
  const linked = await lab.run(['export', '', 'two']);
  expect([linked.code, linked.stderr]).toEqual([1, expect.stringContaining('manifest.jsonl" is a symbolic link')]);
  expect(readFileSync(join(lab.dir, 'elsewhere.jsonl'), 'utf8')).toBe('mine');
  unlinkSync(join(lab.dir, 'two', '.holdfast-export', 'manifest.jsonl'));
  expect(await lab.json<Done>(['export', '', 'two'])).toMatchObject({ done: 4, isComplete: true });
});

test('what an export is writing is no file among the others: the next one clears what a killed one left', async () => {
  const partial = join(lab.dir, 'killed', '.holdfast-export', 'partial');
  mkdirSync(partial, { recursive: true });
  writeFileSync(join(partial, '.holdfast-0123456789ab.part'), 'half');
  const seen: string[] = [];
  const watcher = watch(join(lab.dir, 'killed'), { recursive: true }, (_event, name) => seen.push(String(name)));
  expect(await lab.json<Done>(['export', 'docs/', 'killed'])).toMatchObject({ done: 2, isComplete: true });
  watcher.close();
  expect(seen.filter((name) => name.endsWith('.part') && !name.startsWith('.holdfast-export/'))).toEqual([]);
  expect(existsSync(partial)).toBe(false);
  expect(readdirSync(join(lab.dir, 'killed', 'docs', 'deep'))).toEqual(['b.bin']);
});

test('what has another name there is told from what is left', async () => {
  await lab.holdfast.put('odd/../x', '1');
  mkdirSync(join(lab.dir, 'told', 'odd'), { recursive: true });
  writeFileSync(join(lab.dir, 'told', 'odd', 'y'), 'of somebody');
  await lab.holdfast.put('odd/y', '2');
  const ran = await lab.run(['export', 'odd/', 'told']);
  for (const key of ['odd/../x', 'odd/y']) await lab.holdfast.delete(key);
  expect(ran.code).toBe(1);
  expect(ran.stdout).toContain(
    'exported, but: "odd/../x": "." and ".." are no names of files; it is in ".holdfast-export',
  );
  expect(ran.stdout).toContain('left: "odd/y":');
  expect(ran.stdout).toMatch(/exported 1 object otherwise than by its own name alone\n1 object left\n$/);
});
