import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Actor, Grantee } from '../../../infra/actors.ts';
import { bundle, entryOf } from '../../../infra/bundle.ts';
import { systemClock } from '../../../lib/base/clock.ts';
import { packFleet } from '../../../lib/config/packed-fleet.ts';
import { startDynamo } from '../../../lib/local/dynamodb.ts';
import { createS3Server, type S3Server } from '../../../lib/local/s3/server.ts';
import { createProcess, type HoldfastProcess } from '../../../lib/process/process.ts';
import { listenOnLoopback } from '../../support/loopback.ts';
import { allowing, type Need, type Statement, statementsGranted, statementsOf } from './iam.ts';
import { dynamoNeeds, record, s3Needs, serveSecrets } from './recorder.ts';
import { type Synthesised, synthesise, testFleet } from './template.ts';

const keys = { accessKeyId: 'local', secretAccessKey: 'local-secret' };
const [extArn, extDeleteArn] = [testFleet.backends[2]!.credentials, testFleet.backends[2]!.deleteCredentials].map(
  (credentials) => (credentials as { secretArn: string }).secretArn,
) as [string, string];

/** Short waits, so that one test can see a whole life of an object. */
const tuning = {
  CLEANUP_QUEUE_GRACE_SECONDS: '0',
  PENDING_REAPER_MIN_AGE_SECONDS: '1',
  RECONCILER_MIN_AGE_SECONDS: '0',
  RECONCILER_IMPORT: 'true',
  REBALANCER_STRATEGY: 'spread',
  REBALANCER_THRESHOLD: '0.0001',
  MULTIPART_ABOVE_BYTES: '5242880',
  PART_BYTES: '5242880',
  PRESERVE_TAGS: 'true',
};

export interface Invocation {
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly name: string; readonly message: string };
  /** Lines that the function wrote, parsed. */
  readonly lines: readonly Record<string, unknown>[];
}

/** Bundled functions, each run as its own process, over embedded servers that note what they are asked for. */
export interface LambdaKit {
  readonly synthesised: Synthesised;
  /** The same fleet, from outside: what clients do between the ticks. */
  readonly process: HoldfastProcess;
  readonly aws: S3Server;
  readonly ext: S3Server;
  /** Runs a function once; what its role does not allow is added to `refused`. */
  invoke(actor: Actor, event: unknown): Promise<Invocation>;
  /** Runs a part of `run-application.ts` with what `grantReadWrite` gives. */
  application(part: string): Promise<Invocation>;
  /** One tick of a worker. */
  tick(actor: Actor): Promise<Record<string, unknown>>;
  /** Applies the fleet, changed, as a deployment does; `ext` changes that backend. Returns what CloudFormation was told, and the lines written. */
  deploy(
    requestType: string,
    change?: { readonly policies?: object; readonly ext?: object },
  ): Promise<Record<string, unknown>>;
  readonly refused: string[];
  /** Actions of statements that were needed so far, as `<actor> <sid> <action>`; of indexes also which one. */
  readonly used: ReadonlySet<string>;
  statements(actor: Grantee): readonly Statement[];
  close(): Promise<void>;
}

export async function createLambdaKit(): Promise<LambdaKit> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-lambda-'));
  const dynamo = await startDynamo();
  const s3 = (buckets: string[]) =>
    createS3Server({ dir: join(dir, buckets.join('-')), buckets, credentials: [keys], clock: systemClock });
  const [aws, ext] = [await s3(['bucket-a', 'bucket-b']), await s3(['bucket-x'])];
  const [dynamoLog, s3Log] = [await record(dynamo.endpoint, dynamoNeeds), await record(aws.endpoint, s3Needs)];
  const secrets = await serveSecrets({ [extArn]: JSON.stringify(keys), [extDeleteArn]: JSON.stringify(keys) });
  const answers: Record<string, unknown>[] = [];
  const cloudFormation = createServer((from, answer) => {
    let body = '';
    from.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    from.on('end', () => {
      const isTaken = Buffer.byteLength(body) <= 4096;
      if (isTaken) answers.push({ ...JSON.parse(body), contentType: from.headers['content-type'] });
      answer.writeHead(isTaken ? 200 : 400).end();
    });
  });
  const responseUrl = `${await listenOnLoopback(cloudFormation)}/`;
  const [a, b, x] = testFleet.backends;
  const fleet = ({ ext: extChange = {}, ...change }: { readonly ext?: object } = {}) => ({
    ...testFleet,
    backends: [a, b, { ...x, endpoint: ext.endpoint, pathStyle: true, ...extChange }],
    ...change,
  });
  const synthesised = synthesise(fleet(), tuning, { HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: 'true' }, 'Application');
  const outside = {
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.endpoint,
    AWS_ENDPOINT_URL_S3: aws.endpoint,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.endpoint,
  };
  // The client in this process asks the same servers, past the recorders.
  for (const [name, value] of Object.entries(outside)) process.env[name] = value;
  const client = createProcess({ env: { ...process.env, ...tuning } });
  await client.createTables();

  const bundles = new Map<Actor, string>();
  const refused: string[] = [];
  const used = new Set<string>();
  const functionName = (actor: Actor) => `holdfast-${actor}`;
  const statements = (actor: Grantee) =>
    actor === 'application'
      ? statementsGranted(synthesised, 'Application')
      : statementsOf(synthesised, functionName(actor));

  function check(actor: Grantee, needs: readonly Need[]): void {
    const allowed = statements(actor);
    for (const need of needs) {
      const statement = allowing(allowed, need);
      const text = `${actor} ${need.action} on ${need.resource} ${JSON.stringify(need.context ?? {})}`;
      if (statement) used.add(`${actor} ${statement.sid} ${need.action}${indexOf(need.resource)}`);
      else if (!refused.includes(text)) refused.push(text);
    }
  }

  const recorders = [dynamoLog, s3Log, secrets];
  /** In a process of its own, whose requests are noted, and checked against what the actor may do. */
  async function observe(
    actor: Grantee,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<Invocation> {
    for (const recorder of recorders) recorder.take();
    const endpoints = { AWS_ENDPOINT_URL_DYNAMODB: dynamoLog.endpoint, AWS_ENDPOINT_URL_S3: s3Log.endpoint };
    const lines = await run(args, { ...env, ...outside, ...endpoints });
    check(
      actor,
      recorders.flatMap((recorder) => recorder.take()),
    );
    const outcome = lines.pop() as Omit<Invocation, 'lines'>;
    return { ...outcome, lines };
  }

  const kit: LambdaKit = {
    synthesised,
    process: client,
    aws,
    ext,
    refused,
    used,
    statements,
    async invoke(actor, event) {
      if (!bundles.has(actor)) bundles.set(actor, bundle(entryOf(actor), join(dir, 'bundles', actor)).dir);
      const [, fn] = synthesised
        .ofType('AWS::Lambda::Function')
        .find(([, { Properties }]) => Properties.FunctionName === functionName(actor))!;
      const variables = synthesised.resolve(fn.Properties.Environment.Variables) as Record<string, string>;
      const args = [handlerRunner, join(bundles.get(actor)!, 'index.mjs'), JSON.stringify(event)];
      return observe(actor, args, { ...variables, AWS_LAMBDA_FUNCTION_NAME: functionName(actor) });
    },
    application: (part) => observe('application', [applicationRunner, part], tuning),
    async tick(actor) {
      const scheduledTime = new Date(systemClock.now()).toISOString();
      const { result, error, lines } = await kit.invoke(actor, { scheduledTime, part: 0, of: 1 });
      if (!result)
        throw new Error(`${actor}: ${error!.message}\n${lines.map((line) => JSON.stringify(line)).join('\n')}`);
      return result;
    },
    async deploy(RequestType, change) {
      const ids = { StackId: 'stack', RequestId: 'request', LogicalResourceId: 'Fleet' };
      const ResourceProperties = { ...packFleet(JSON.stringify(fleet(change))), applies: 'true', deployedAt: 'now' };
      const { error, lines } = await kit.invoke('apply', {
        RequestType,
        ResponseURL: responseUrl,
        ...ids,
        ResourceProperties,
      });
      if (error) throw new Error(error.message);
      return { ...answers.pop()!, lines };
    },
    async close() {
      await client.close();
      await Promise.all(recorders.map((recorder) => recorder.close()));
      await Promise.all([aws.close(), ext.close(), dynamo.close()]);
      cloudFormation.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return kit;
}

/** Each index is granted by itself. */
export function indexOf(resource: string): string {
  return /\/index\/.*$/.exec(resource)?.[0].replace('/index/', ' ') ?? '';
}

const handlerRunner = fileURLToPath(new URL('run-handler.ts', import.meta.url));
const applicationRunner = fileURLToPath(new URL('run-application.ts', import.meta.url));

function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Record<string, unknown>[]> {
  const child = spawn(process.execPath, [...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () =>
      resolve(
        text
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Record<string, unknown>),
      ),
    );
  });
}
