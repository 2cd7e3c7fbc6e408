import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { bodyOf } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import type { Holdfast } from '../../lib/client/client.ts';
import { createHoldfast } from '../../lib/client/holdfast.ts';
import { createS3Backend } from '../../lib/fleet/s3-backend.ts';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { runCli } from '../cli/kit.ts';
import { oddKeys } from '../contracts/backend-access.ts';
import { removeBelow } from './remove-below.ts';
import type { Running } from './running.ts';
import { optionsFor, type Target } from './target.ts';
import { tell } from './told.ts';

/** One step of the run through the command line, and why it did not hold. */
export interface Step {
  readonly name: string;
  readonly error?: string;
}

/** How it went. Nothing more is tried on a fleet that `init` refuses. */
export interface Ending {
  readonly steps: readonly Step[];
  /** The promise that `init` says could not be kept. */
  readonly refused?: string;
}

/** What `init` says where a server cannot keep a promise. */
const brokenPromise =
  /does not keep user metadata|lists keys otherwise|does not list each key once|completes no upload|without its user metadata/;

class Refused extends Error {}

/** Three backends: of one server, or of three. */
export type Trio = readonly [Target, Target, Target];

const contents = new Map<string, Buffer>([
  ...oddKeys.map((key): [string, Buffer] => [`odd/${key}`, Buffer.from(`content of ${key}`)]),
  ['sizes/empty', Buffer.alloc(0)],
  ['sizes/big', Buffer.alloc(7_000_000, 'big ')],
]);
const imported = new Map([1, 2, 3].map((n): [string, Buffer] => [`plain/file ${n}.txt`, Buffer.from(`file ${n}`)]));

/** Everything a fleet goes through, on three prefixes of one server. Steps after one that failed are tried all the same. */
export async function endToEnd(
  target: Target,
  outage: Pick<Running, 'kill' | 'start'> | undefined,
  dir: string,
): Promise<Ending> {
  const at = (name: string): Target => ({ ...target, name, prefix: `${target.prefix}${name}/` });
  return runSteps([at('a'), at('b'), at('c')], outage, dir);
}

/** `outage` ends and starts the server of the first backend. */
export async function runSteps(
  trio: Trio,
  outage: Pick<Running, 'kill' | 'start'> | undefined,
  parent: string,
): Promise<Ending> {
  const dir = mkdtempSync(join(parent, 'end-to-end-'));
  const dynamo = await startDynamo();
  await tell({ told: 'starts', pid: dynamo.pid });
  const env = environment(dynamo.endpoint, trio);
  const holdfast = createHoldfast({ env });
  const steps: Step[] = [];
  const step = async (name: string, act: () => Promise<unknown>) => {
    try {
      await act();
      steps.push({ name });
    } catch (error) {
      if (error instanceof Refused) throw error;
      steps.push({ name, error: (error as Error).message.split('\n').slice(0, 3).join(' ') });
    }
  };
  try {
    await allSteps({ step, trio, outage, holdfast, dir, cli: (...args) => command(args, env, dir) });
    return { steps };
  } catch (error) {
    if (error instanceof Refused) return { steps, refused: error.message };
    throw error;
  } finally {
    for (const target of trio) await removeBelow(target, '').catch(() => {});
    await holdfast.close().catch(() => {});
    await dynamo.close();
    await tell({ told: 'ended', pid: dynamo.pid });
    rmSync(dir, { recursive: true, force: true });
  }
}

interface Scene {
  step(name: string, act: () => Promise<unknown>): Promise<void>;
  readonly trio: Trio;
  readonly outage: Pick<Running, 'kill' | 'start'> | undefined;
  readonly holdfast: Holdfast;
  readonly dir: string;
  cli(...args: readonly string[]): Promise<Answer>;
}

async function allSteps({ step, trio, outage, holdfast, dir, cli }: Scene): Promise<void> {
  const [{ name: first }] = trio;
  const kept = new Map<string, Buffer>();
  const settle = async () => {
    for (const worker of ['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'])
      for (let n = 0; n < 20 && (await cli('tick', worker)).document.outcome !== 'empty'; n += 1);
  };
  const allReadable = async () => {
    for (const [key, content] of kept) await expectContent(holdfast, key, content);
  };
  await step('init', () => initialised(cli('init')));
  if (outage !== undefined)
    await step('restart', async () => {
      await outage.kill();
      await outage.start();
      // What a server keeps in its memory alone is gone: also the metadata of the owner object.
      await initialised(cli('init'));
    });
  await step('put', async () => {
    const refused: string[] = [];
    for (const [key, content] of contents) {
      await holdfast.put(key, content).then(
        () => void kept.set(key, content),
        () => void refused.push(key),
      );
    }
    if (kept.size < contents.size / 2) throw new Error(`${refused.length} keys were refused, e.g. ${refused[0]}`);
  });
  await step('replicate', async () => {
    await settle();
    await allReadable();
    const { document } = await succeeds(cli('status'));
    if (Number(document.underReplicated) > Number(document.stuck ?? 0))
      throw new Error(`${document.underReplicated} objects are short of copies`);
  });
  await step('import', async () => {
    const backend = createS3Backend({ ...optionsFor(trio[0], ''), capabilities: {} });
    for (const [key, content] of imported)
      await backend.put({ storageKey: key, sizeBytes: content.length, body: bodyOf(content) });
    backend.close();
    await succeeds(cli('import', first));
    for (const [key, content] of imported) kept.set(key, content);
    await settle();
    await allReadable();
  });
  if (outage !== undefined) {
    await step('outage', async () => {
      await outage.kill();
      const { code } = await cli('reconcile', first);
      if (code === 0) throw new Error('reconcile of a server that is down ended with 0');
      await cli('tick', 'replicator');
      await outage.start();
    });
    await step('after the outage', async () => {
      await pause(2_500);
      await settle();
      await allReadable();
      const { document } = await succeeds(cli('status'));
      const open = (document.backends as readonly { breaker: string; name: string }[]).filter(
        (b) => b.breaker !== 'closed',
      );
      if (open.length > 0) throw new Error(`the breaker of ${open[0]!.name} stays ${open[0]!.breaker}`);
    });
  }
  await step('overwrite and delete', async () => {
    const [[key, other]] = [...kept].slice(2) as [[string, Buffer]];
    await holdfast.put(key, 'another content');
    kept.set(key, Buffer.from('another content'));
    const [[gone]] = [...kept].slice(3) as [[string, Buffer]];
    await holdfast.delete(gone);
    kept.delete(gone);
    if (other.length === 0 || (await holdfast.get(gone)) !== null) throw new Error(`"${gone}" is still there`);
    await pause(1_100);
    await settle();
    await allReadable();
  });
  await step('scrub', async () => {
    const { document } = await cli('tick', 'scrubber', '--deadline', '120');
    if (Number(document.failed) > 0)
      throw new Error(`${document.failed} copies failed: ${JSON.stringify(document.reasons)}`);
  });
  await step('reconcile', async () => {
    for (const { name } of trio) {
      const { document, code } = await cli('reconcile', name);
      if (code !== 0) throw new Error(`${name}: ${JSON.stringify(document)}`);
    }
    await allReadable();
  });
  await step('drain', async () => {
    await succeeds(cli('drain', first));
    for (let n = 0; n < 12; n += 1) {
      await settle();
      const { document } = await succeeds(cli('status'));
      const backend = (document.backends as readonly { name: string; objects: number; queue: number }[]).find(
        ({ name }) => name === first,
      )!;
      // What no other backend takes, by its key, stays where it is and is told of.
      if (backend.objects === stuckOn(first, document) && backend.queue === 0) return allReadable();
      await pause(1_000);
    }
    const { document } = await succeeds(cli('status'));
    throw new Error(
      `the drain does not come to its end: ${JSON.stringify(document.backends)} ${JSON.stringify(document.placements)}`,
    );
  });
  await step('recount', async () => {
    const { document } = await succeeds(cli('recount'));
    if ((document.differences as unknown[]).length > 0) throw new Error(JSON.stringify(document.differences));
  });
  await step('export', async () => {
    const folder = join(dir, 'out');
    for (const prefix of ['sizes/', 'plain/']) {
      await succeeds(cli('export', prefix, folder));
      for (const [key, content] of kept)
        if (key.startsWith(prefix) && !readFileSync(join(folder, ...key.split('/'))).equals(content))
          throw new Error(`"${key}" was exported as other bytes`);
    }
  });
  await step('tidy up', async () => {
    for (const target of trio) {
      await removeBelow(target, '');
      const backend = createS3Backend({ ...optionsFor(target, ''), capabilities: {} });
      const { items } = await backend.list({});
      backend.close();
      if (items.length > 0) throw new Error(`"${items[0]!.storageKey}" is left on "${target.name}"`);
    }
  });
}

/** Objects that have no place to go from a backend: never many of them. */
function stuckOn(name: string, { placements }: Answer['document']): number {
  const stuck = (placements as readonly { condition: string; backends: readonly string[]; objects: number }[]).filter(
    ({ condition, backends }) => condition === 'stuck' && backends.includes(name),
  );
  return Math.min(
    3,
    stuck.reduce((sum, { objects }) => sum + objects, 0),
  );
}

interface Answer {
  readonly code: number | null;
  readonly document: Readonly<Record<string, unknown>>;
  readonly stderr: string;
}

async function command(args: readonly string[], env: Readonly<Record<string, string>>, cwd: string): Promise<Answer> {
  const ran = await runCli([...args, '--json'], { env, cwd });
  const document = ran.stdout.trim() === '' ? {} : ran.json();
  return { code: ran.code, document, stderr: ran.stderr };
}

async function succeeds(running: Promise<Answer>): Promise<Answer> {
  const answer = await running;
  if (answer.code !== 0) throw new Error(answer.stderr.trim() || JSON.stringify(answer.document));
  return answer;
}

async function initialised(running: Promise<Answer>): Promise<void> {
  const { code, stderr } = await running;
  if (code === 0) return;
  const lines = stderr.trim().split('\n');
  const why = lines.find((line) => brokenPromise.test(line));
  throw why === undefined ? new Error(lines.join(' ')) : new Refused(why.replace(/^\W+/, ''));
}

async function expectContent(holdfast: Holdfast, key: string, content: Buffer): Promise<void> {
  const found = await holdfast.get(key);
  if (found === null) throw new Error(`"${key}" is not there`);
  const read = await buffer(Readable.from(found.body));
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  if (hash(read) !== hash(content)) throw new Error(`"${key}" has other bytes`);
}

function environment(dynamodb: string, trio: Trio): Record<string, string> {
  const backends = trio.map(({ name, endpoint, region, bucket, prefix, pathStyle, credentials, maxObjectBytes }) => {
    const { accessKeyId, secretAccessKey } = credentials;
    const at = { name, region, bucket, prefix, pathStyle, credentials: { accessKeyId, secretAccessKey } };
    return { ...at, ...defined({ endpoint, maxObjectBytes }) };
  });
  return {
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local-secret',
    HOLDFAST_FLEET: JSON.stringify({ backends, policies: { default: { factor: 2 } } }),
    HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: 'true',
    CLEANUP_QUEUE_GRACE_SECONDS: '0',
    PENDING_REAPER_MIN_AGE_SECONDS: '1',
    BREAKER_OPEN_SECONDS: '1',
    DRAIN_SETTLE_SECONDS: '0',
    RECONCILER_MIN_AGE_SECONDS: '0',
    MULTIPART_ABOVE_BYTES: '5242880',
    PART_BYTES: '5242880',
  };
}

const pause = (ms: number) => systemClock.sleep(ms);
