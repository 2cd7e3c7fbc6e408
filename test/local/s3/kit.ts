import { createHash, createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { type Agent, type ClientRequest, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { systemClock } from '../../../lib/base/clock.ts';
import { defined } from '../../../lib/base/defined.ts';
import { createS3Server, type S3Server, type S3ServerOptions } from '../../../lib/local/s3/server.ts';
import { emptyBucket, onlyEmbedded, type RealS3 } from './real.ts';

/** `npm run test:real` names a server to run these suites on. */
const real =
  process.env.HOLDFAST_REAL_S3 === undefined ? undefined : (JSON.parse(process.env.HOLDFAST_REAL_S3) as RealS3);

export const KEYS = real?.credentials ?? { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+odd=chars' };
export const BUCKET = real?.bucket ?? 'bucket-a';

export interface Kit extends AsyncDisposable {
  server: S3Server;
  client: S3Client;
  dir: string;
  newClient(config?: S3ClientConfig): S3Client;
  /** Stops the server and starts another on the same folder. */
  restart(): Promise<void>;
}

export async function startKit(options: Partial<S3ServerOptions> = {}): Promise<Kit> {
  if (real !== undefined) return kitAt(real, options);
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-s3-'));
  const start = () => createS3Server({ dir, buckets: [BUCKET], credentials: [KEYS], clock: systemClock, ...options });
  const { newClient, destroyClients } = createClients(() => kit.server.endpoint);
  const kit: Kit = {
    server: await start(),
    client: undefined as unknown as S3Client,
    dir,
    newClient,
    async restart() {
      await kit.server.close();
      kit.server = await start();
      kit.client = kit.newClient();
    },
    async [Symbol.asyncDispose]() {
      destroyClients();
      await kit.server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  kit.client = kit.newClient();
  return kit;
}

function createClients(endpoint: () => string) {
  const clients: S3Client[] = [];
  return {
    newClient(config: S3ClientConfig = {}): S3Client {
      const client = new S3Client({
        endpoint: endpoint(),
        region: 'us-east-1',
        credentials: KEYS,
        forcePathStyle: true,
        maxAttempts: 1,
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
        ...config,
      });
      clients.push(client);
      return client;
    },
    destroyClients() {
      for (const client of clients) client.destroy();
    },
  };
}

/** Of a server that is there: without folder, faults, journal and restart. What is made for the kit is removed with it. */
async function kitAt({ endpoint, bucket }: RealS3, { buckets = [bucket] }: Partial<S3ServerOptions>): Promise<Kit> {
  const unknown = () => {
    throw new Error(onlyEmbedded);
  };
  const { newClient, destroyClients } = createClients(() => endpoint);
  const client = newClient();
  for (const Bucket of buckets) {
    if (Bucket !== bucket) await client.send(new CreateBucketCommand({ Bucket })).catch(() => {});
    await emptyBucket(client, Bucket);
  }
  return {
    server: new Proxy({} as S3Server, { get: (_, name) => (name === 'endpoint' ? endpoint : unknown()) }),
    client,
    get dir(): string {
      return unknown();
    },
    newClient,
    restart: async () => unknown(),
    async [Symbol.asyncDispose]() {
      for (const Bucket of buckets) {
        await emptyBucket(client, Bucket);
        if (Bucket !== bucket) await client.send(new DeleteBucketCommand({ Bucket })).catch(() => {});
      }
      destroyClients();
    },
  };
}

/** A kit for all tests of a file. */
export function kitForFile(options: Partial<S3ServerOptions> = {}): Kit {
  return kitWithin(beforeAll, afterAll, options);
}

/** A fresh kit for each test of a file. */
export function kitForTest(options: Partial<S3ServerOptions> = {}): Kit {
  return kitWithin(beforeEach, afterEach, options);
}

/** Stands for the kit that runs just then. */
function kitWithin(begin: typeof beforeAll, end: typeof afterAll, options: Partial<S3ServerOptions>): Kit {
  let kit: Kit;
  begin(async () => {
    kit = await startKit(options);
  });
  end(() => kit[Symbol.asyncDispose]());
  return new Proxy({} as Kit, {
    get: (_, name) => Reflect.get(kit, name),
    set: (_, name, value) => Reflect.set(kit, name, value),
  });
}

/** A PUT of four bytes that asks whether it may send them. */
export async function askingPut(endpoint: string, key: string): ReturnType<typeof signed> {
  const request = await signed(endpoint, { method: 'PUT', path: `/${BUCKET}/${key}`, payload: 'UNSIGNED-PAYLOAD' });
  Object.assign(request.headers, { expect: '100-continue', 'content-length': '4' });
  return request;
}

export interface RawRequest {
  method?: string;
  /** As it goes on the wire: path and query, encoded. */
  path?: string;
  headers?: Record<string, string>;
  body?: Buffer | string;
  /** A connection of its own when absent. */
  agent?: Agent;
}

export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  text: string;
  /** The `<Code>` of an error document. */
  code: string | undefined;
}

/** Sends exactly what it is given. */
export function send(
  endpoint: string,
  input: RawRequest,
  during?: (request: ClientRequest) => void,
): Promise<RawAnswer> {
  const { method = 'GET', path = '/', headers = {}, body, agent = false } = input;
  const { hostname, port } = new URL(endpoint);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers, agent }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(pieces);
        const text = bytes.toString();
        const code = /<Error>.*?<Code>(.*?)<\/Code>/s.exec(text)?.[1];
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes, text, code });
      });
    });
    request.on('error', reject);
    if (during) during(request);
    else request.end(body);
  });
}

export class Sha256 {
  #hash = createHash('sha256');
  #secret: string | Uint8Array | undefined;
  constructor(secret?: unknown) {
    this.#secret = secret as Uint8Array | undefined;
    this.reset();
  }
  reset(): void {
    this.#hash = (this.#secret === undefined ? createHash('sha256') : createHmac('sha256', this.#secret)) as ReturnType<
      typeof createHash
    >;
  }
  update(data: unknown): void {
    this.#hash.update(data as Uint8Array);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
}

/** Signs with the vendor's own signer. `payload` is the value of x-amz-content-sha256; the body's digest when absent. */
export async function signed(
  endpoint: string,
  input: RawRequest & { payload?: string; credentials?: typeof KEYS; at?: Date },
): Promise<RawRequest & { headers: Record<string, string> }> {
  const { method = 'GET', path = '/', headers = {}, body, credentials = KEYS } = input;
  const [rawPath = '/', search = ''] = path.split('?');
  const payload =
    input.payload ??
    createHash('sha256')
      .update(body ?? '')
      .digest('hex');
  const { host, hostname, port } = new URL(endpoint);
  const signer = new SignatureV4({
    credentials,
    region: 'us-east-1',
    service: 's3',
    sha256: Sha256 as never,
    uriEscapePath: false,
    applyChecksum: false,
  });
  const query: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(search)) query[name] = value;
  const request = await signer.sign(
    {
      method,
      protocol: 'http:',
      hostname,
      port: Number(port),
      path: rawPath,
      query,
      headers: { host, ...headers, 'x-amz-content-sha256': payload },
    },
    defined({ signingDate: input.at }),
  );
  const contentLength =
    body !== undefined || method === 'PUT' || method === 'POST'
      ? { 'content-length': String(Buffer.byteLength(body ?? '')) }
      : {};
  return { method, path, headers: { ...contentLength, ...request.headers }, ...defined({ body }) };
}

export async function sendSigned(endpoint: string, input: Parameters<typeof signed>[1]): Promise<RawAnswer> {
  return send(endpoint, await signed(endpoint, input));
}

export interface Failure {
  name: string;
  status: number | undefined;
}

/** What an SDK call failed with; throws when it did not fail. */
export async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof S3ServiceException) return { name: error.name, status: error.$metadata.httpStatusCode };
    return { name: (error as { code?: string; name: string }).code ?? (error as Error).name, status: undefined };
  }
  throw new Error('The call was expected to fail.');
}

/** Deterministic bytes that compress badly and differ everywhere. */
export function someBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 0xff;
  }
  return bytes;
}
