import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { S3Client } from '@aws-sdk/client-s3';
import type { Clock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import type { Capabilities } from '../backend.ts';
import { BackendError } from '../errors.ts';
import { type Attempted, backendError, MissingCredentialsError, toBackendError } from './errors.ts';
import { sentHeader, sentMetadata } from './header-text.ts';
import { createTransport, type OnRequest, type S3Timeouts } from './transport.ts';

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** Fetches keys, and keeps them as long as they may be used; its failure is `missing-credentials`. */
export interface S3KeySource {
  (): Promise<S3Keys>;
  /** After keys were refused: whether others are to be had now, which it gives from then on. */
  renew?(refused: S3Keys): Promise<boolean>;
}

export type S3Credentials = S3Keys | S3KeySource;

export interface S3ConnectionOptions {
  readonly name: string;
  /** Absent for AWS itself. */
  readonly endpoint?: string;
  readonly region: string;
  readonly bucket: string;
  /** Empty, or ends in `/`. Prepended to every storage key. */
  readonly prefix: string;
  readonly pathStyle: boolean;
  readonly credentials: S3Credentials;
  /** Used by `delete` alone. */
  readonly deleteCredentials?: S3Credentials;
  readonly capabilities: Capabilities;
  readonly clock: Clock;
  /** [2 s to connect, 30 s to answer, 30 s without a byte] */
  readonly timeouts?: Partial<S3Timeouts>;
  /** Requests that may wait for an answer at a time, and idle sockets kept [64]. */
  readonly maxSockets?: number;
  /** Attempts of the SDK at a request that it can send again [3]. */
  readonly attempts?: number;
  readonly onRequest?: OnRequest;
}

/** How a call is sent: the SDK's own options. */
export interface CallOptions {
  readonly abortSignal?: AbortSignal;
  readonly requestTimeout?: number;
}

/** What the parts of the S3 adapter share: the clients, and the edge at which errors are typed. */
export interface S3Connection {
  readonly name: string;
  readonly bucket: string;
  readonly prefix: string;
  readonly capabilities: Capabilities;
  readonly clock: Clock;
  readonly timeouts: S3Timeouts;
  /** Sends again what failed in passing. A streamed body is never sent twice. */
  readonly retrying: S3Client;
  /** For requests whose second sending could be answered differently because the first one had its effect. */
  readonly once: S3Client;
  readonly deleting: S3Client;
  /** Asks on connections that nothing else was asked on. */
  fresh(): S3Client;
  /**
   * Runs one call of the SDK. Throws `BackendError` alone. One whose keys are refused is sent once more where they have been
   * replaced meanwhile, unless its body can be sent only once.
   */
  call<T>(
    action: string,
    storageKey: string,
    signal: AbortSignal | undefined,
    send: (options: CallOptions) => Promise<T>,
    body?: 'sent-once',
  ): Promise<T>;
  attempted(action: string, storageKey: string): Attempted;
  /** The key in the bucket. */
  fullKey(storageKey: string): string;
  close(): void;
}

const quiet = () => {};
/** Not the SDK's own no-op logger: seeing that one, parts of it fall back to the console. */
const silentLogger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };

const defaultTimeouts: S3Timeouts = { connectMs: 2_000, answerMs: 30_000, stallMs: 30_000 };

/** Opens the clients of one backend. No request is sent and no credential fetched before the first call. */
export function connectS3(options: S3ConnectionOptions): S3Connection {
  const { name, bucket, prefix, capabilities, clock, maxSockets = 64, attempts = 3, onRequest } = options;
  const timeouts = { ...defaultTimeouts, ...options.timeouts };
  const sockets = { clock, timeouts, maxSockets, onRequest };
  const transport = createTransport({ ...sockets, keepsSockets: true });
  const open = (credentials: S3Credentials, maxAttempts: number, requestHandler = transport) => {
    const client = new S3Client({
      ...defined({ endpoint: options.endpoint }),
      region: options.region,
      forcePathStyle: options.pathStyle,
      credentials: typeof credentials === 'function' ? askedEachTime(name, credentials) : credentials,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      expectContinueHeader: false,
      followRegionRedirects: false,
      disableS3ExpressSessionAuth: true,
      useArnRegion: false,
      useDualstackEndpoint: false,
      useFipsEndpoint: false,
      retryMode: 'standard',
      maxAttempts,
      cacheMiddleware: true,
      logger: silentLogger,
      requestHandler,
    });
    // It copies every input and output for a logger that says nothing.
    client.middlewareStack.remove('loggerMiddleware');
    addHeaders(client, capabilities);
    return client;
  };
  const retrying = open(options.credentials, attempts);
  let fresh: S3Client | undefined;
  const renewable = [options.credentials, options.deleteCredentials].flatMap((source) =>
    typeof source === 'function' && source.renew !== undefined ? [source] : [],
  );
  const attempted = (action: string, storageKey: string): Attempted => ({ backend: name, action, storageKey });
  return {
    name,
    bucket,
    prefix,
    capabilities,
    clock,
    timeouts,
    retrying,
    once: open(options.credentials, 1),
    deleting: options.deleteCredentials === undefined ? retrying : open(options.deleteCredentials, attempts),
    fresh() {
      fresh ??= open(options.credentials, attempts, createTransport({ ...sockets, keepsSockets: false }));
      return fresh;
    },
    attempted,
    async call(action, storageKey, signal, send, body) {
      const sendNow = async () => {
        try {
          signal?.throwIfAborted();
          return await send(signal ? { abortSignal: signal } : {});
        } catch (error) {
          throw toBackendError(error, attempted(action, storageKey), signal);
        }
      };
      const keys = await Promise.all(renewable.map((source) => source().catch(() => null)));
      try {
        return await sendNow();
      } catch (error) {
        if (!(error instanceof BackendError) || !error.refusesKeys || !(await renewAny(renewable, keys))) throw error;
        if (body === undefined) return sendNow();
        const whatIsSo = 'its keys had been replaced, and are read anew';
        throw backendError('stale-credentials', attempted(action, storageKey), whatIsSo, error);
      }
    },
    fullKey: (storageKey) => prefix + storageKey,
    close: () => transport.destroy(),
  };
}

/** The SDK would keep the keys that it got once: a source that keeps them itself says so by this mark. */
function askedEachTime(name: string, source: S3KeySource): () => Promise<S3Keys> {
  const fetchKeys = async () => {
    try {
      return await source();
    } catch (cause) {
      throw new MissingCredentialsError(`this process has no credentials for "${name}"`, { cause });
    }
  };
  return Object.assign(fetchKeys, { memoized: true });
}

async function renewAny(sources: readonly S3KeySource[], refused: readonly (S3Keys | null)[]): Promise<boolean> {
  const renewed = await Promise.all(
    sources.map(async (source, i) => refused[i] != null && source.renew!(refused[i]).catch(() => false)),
  );
  return renewed.includes(true);
}

/** Content headers whose text may be anybody's. */
const contentHeaders = ['content-type', 'cache-control', 'content-disposition', 'content-encoding', 'content-language'];

/**
 * Text goes out so that it comes back as itself. A known SHA-256 of a streamed body is signed, so that a backend which checks signatures checks the bytes with them;
 * it is sent as a checksum only to those that know it. DeleteObjects goes with Content-MD5, which every backend takes.
 */
function addHeaders(client: S3Client, capabilities: Capabilities): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      const request = args.request as { headers: Record<string, string>; body?: unknown };
      const { headers, body } = request;
      for (const [header, text] of Object.entries(headers)) {
        if (header.startsWith('x-amz-meta-')) headers[header] = sentMetadata(text);
        else if (contentHeaders.includes(header)) headers[header] = sentHeader(text);
      }
      const sha256 = headers['x-amz-checksum-sha256'];
      if (sha256 !== undefined) {
        if (body instanceof Readable) headers['x-amz-content-sha256'] = Buffer.from(sha256, 'base64').toString('hex');
        if (capabilities.checksumSha256 !== true) delete headers['x-amz-checksum-sha256'];
      }
      if (context.commandName === 'DeleteObjectsCommand' && typeof body === 'string') {
        for (const header of Object.keys(headers)) {
          if (/^x-amz-(checksum-|sdk-checksum-)/.test(header)) delete headers[header];
        }
        headers['content-md5'] = createHash('md5').update(body).digest('base64');
      }
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'holdfastHeaders', override: true },
  );
}
