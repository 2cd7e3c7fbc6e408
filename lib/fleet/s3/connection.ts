import type { Clock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import type { Capabilities } from '../backend.ts';
import { BackendError } from '../errors.ts';
import { addressOf, ownEndpoint } from './address.ts';
import { type Answer, type Asked, createAsk } from './ask.ts';
import { type Attempted, backendError, MissingCredentialsError, toBackendError } from './errors.ts';
import type { S3ConnectionOptions, S3Credentials, S3KeySource, S3Keys } from './options.ts';
import type { SdkClients } from './sdk-clients.ts';
import { createWire, type S3Timeouts } from './wire.ts';

/** How a call is sent: the SDK's own options. */
export interface CallOptions {
  readonly abortSignal?: AbortSignal;
  readonly requestTimeout?: number;
}

/** What the parts of the S3 adapter share: how requests are sent, and the edge at which errors are typed. */
export interface S3Connection {
  readonly name: string;
  readonly bucket: string;
  readonly prefix: string;
  readonly capabilities: Capabilities;
  /** Absent: the bucket's own. */
  readonly storageClass?: string | undefined;
  readonly clock: Clock;
  readonly timeouts: S3Timeouts;
  /** The SDK's clients, which most processes never load. */
  sdk(): Promise<SdkClients>;
  /**
   * Runs one call of the SDK. Throws `BackendError` alone. One whose keys are refused is sent once more where they have been
   * replaced meanwhile.
   */
  call<T>(
    action: string,
    storageKey: string,
    signal: AbortSignal | undefined,
    send: (sdk: SdkClients, options: CallOptions) => Promise<T>,
  ): Promise<T>;
  /** The same for a request that is built here, on a kept connection or on a new one; a streamed body is sent only once. */
  ask(action: string, storageKey: string, asked: Omit<Asked, 'key'>, options: AskOptions): Promise<Answer>;
  attempted(action: string, storageKey: string): Attempted;
  /** The key in the bucket. */
  fullKey(storageKey: string): string;
  close(): void;
}

export interface AskOptions {
  /** Ends the request. */
  readonly signal: AbortSignal | undefined;
  /** By which a failure is told from one that somebody asked for [signal]. */
  readonly callersSignal?: AbortSignal | undefined;
  readonly isFresh?: boolean;
}

const defaultTimeouts: S3Timeouts = { connectMs: 2_000, answerMs: 30_000, stallMs: 30_000 };

/** Opens one backend. No request is sent and no credential fetched before the first call. */
export function connectS3(given: S3ConnectionOptions): S3Connection {
  // Both ways of sending go to one place, whatever else the SDK may read of its environment.
  const endpoint = given.endpoint ?? ownEndpoint(given);
  const options = { ...given, ...defined({ endpoint }) };
  const { name, bucket, prefix, capabilities, storageClass, clock, maxSockets = 64, attempts = 3 } = options;
  const { onRequest, onAnswer } = options;
  const timeouts = { ...defaultTimeouts, ...options.timeouts };
  const openWire = (keepsSockets: boolean) =>
    createWire({ clock, timeouts, maxSockets, onRequest, onAnswer, keepsSockets });
  const wire = openWire(true);
  const keys = keySource(name, options.credentials);
  const sdk = once(async () => {
    const { openSdkClients } = await import('./sdk-clients.ts');
    const keysOf = (credentials: S3Credentials) =>
      // The SDK would keep the keys that it got once: a source that keeps them itself says so by this mark.
      typeof credentials === 'function'
        ? Object.assign(keySource(name, credentials), { memoized: true })
        : { ...credentials };
    return openSdkClients(options, { wire, attempts, keysOf });
  });
  const address = once(async () => addressOf(options) ?? (await sdk()).address());
  const kept = once(async () => createAsk({ wire, keys, attempts, address: await address() }));
  const fresh = once(async () => createAsk({ wire: openWire(false), keys, attempts, address: await address() }));
  const renewable = [options.credentials, options.deleteCredentials].flatMap((source) =>
    typeof source === 'function' && source.renew !== undefined ? [source] : [],
  );
  const place = {
    region: options.region,
    bucket,
    pathStyle: options.pathStyle,
    ...defined({ endpoint: options.endpoint }),
  };
  const attempted = (action: string, storageKey: string): Attempted => ({ backend: name, action, storageKey, place });

  /** Types errors, and lets a request whose keys are refused go again with those that have replaced them. */
  const guarded = async <T>(
    what: Attempted,
    signal: AbortSignal | undefined,
    send: () => Promise<T>,
    isSentOnce: boolean,
  ): Promise<T> => {
    const sendNow = async () => {
      try {
        signal?.throwIfAborted();
        return await send();
      } catch (error) {
        throw toBackendError(error, what, signal);
      }
    };
    if (renewable.length === 0) return sendNow();
    const inUse = await Promise.all(renewable.map((source) => source().catch(() => null)));
    try {
      return await sendNow();
    } catch (error) {
      if (!(error instanceof BackendError) || !error.refusesKeys || !(await renewAny(renewable, inUse))) throw error;
      if (!isSentOnce) return sendNow();
      throw backendError('stale-credentials', what, 'its keys had been replaced, and are read anew', error);
    }
  };

  return {
    name,
    bucket,
    prefix,
    capabilities,
    storageClass,
    clock,
    timeouts,
    sdk,
    call: (action, storageKey, signal, send) =>
      guarded(
        attempted(action, storageKey),
        signal,
        async () => send(await sdk(), signal ? { abortSignal: signal } : {}),
        false,
      ),
    ask: (action, storageKey, asked, { signal, callersSignal = signal, isFresh = false }) =>
      guarded(
        attempted(action, storageKey),
        callersSignal,
        async () => (await (isFresh ? fresh() : kept()))({ ...asked, key: prefix + storageKey }, signal),
        asked.body !== undefined && !(asked.body instanceof Uint8Array),
      ),
    attempted,
    fullKey: (storageKey) => prefix + storageKey,
    close: () => wire.destroy(),
  };
}

/** What fetches keys; its failure is this process's. */
function keySource(name: string, credentials: S3Credentials): () => Promise<S3Keys> {
  if (typeof credentials !== 'function') return async () => credentials;
  return async () => {
    try {
      return await credentials();
    } catch (cause) {
      const why = cause instanceof Error ? ` (${cause.message})` : '';
      throw new MissingCredentialsError(`this process has no credentials for "${name}"${why}`, { cause });
    }
  };
}

async function renewAny(sources: readonly S3KeySource[], refused: readonly (S3Keys | null)[]): Promise<boolean> {
  const renewed = await Promise.all(
    sources.map(async (source, i) => refused[i] != null && source.renew!(refused[i]).catch(() => false)),
  );
  return renewed.includes(true);
}

/** The same promise for everybody; asked again after a failure. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  return () => {
    if (value === undefined) {
      value = make();
      value.catch(() => {
        value = undefined;
      });
    }
    return value;
  };
}
