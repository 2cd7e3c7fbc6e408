import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { S3Client } from '@aws-sdk/client-s3';
import type { NodeHttpHandler } from '@smithy/node-http-handler';
import { defined } from '../../base/defined.ts';
import type { Capabilities } from '../backend.ts';
import type { Address } from './address.ts';
import { sentHeader, sentMetadata, wireText } from './header-text.ts';
import type { S3ConnectionOptions, S3Credentials, S3Keys } from './options.ts';
import { percentEncoded } from './sign.ts';
import { tolerateDates, tolerateHeaders } from './tolerate-answer.ts';
import type { Wire, WireRequest } from './wire.ts';

/** The SDK's clients of one backend. No request is sent and no credential fetched before the first call. */
export interface SdkClients {
  /** Sends again what failed in passing. */
  readonly retrying: S3Client;
  /** For requests whose second sending could be answered differently because the first one had its effect. */
  readonly once: S3Client;
  readonly deleting: S3Client;
  /** Where the SDK's own rules say that the bucket is. */
  address(): Address;
}

export interface SdkDeps {
  readonly wire: Wire;
  readonly attempts: number;
  /** What fetches keys, told not to be asked once for all. */
  keysOf(credentials: S3Credentials): S3Keys | (() => Promise<S3Keys>);
}

export function openSdkClients(options: S3ConnectionOptions, { wire, attempts, keysOf }: SdkDeps): SdkClients {
  const requestHandler = handlerOn(wire);
  const open = (credentials: S3Credentials, maxAttempts: number) => {
    const client = new S3Client({
      ...defined({ endpoint: options.endpoint }),
      region: options.region,
      forcePathStyle: options.pathStyle,
      credentials: keysOf(credentials),
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
    addHeaders(client, options.capabilities);
    return client;
  };
  const retrying = open(options.credentials, attempts);
  return {
    retrying,
    once: open(options.credentials, 1),
    deleting: options.deleteCredentials === undefined ? retrying : open(options.deleteCredentials, attempts),
    address: () => addressByRules(retrying, options),
  };
}

function addressByRules({ config }: S3Client, { bucket, region, endpoint, pathStyle }: S3ConnectionOptions): Address {
  const rules = { Bucket: bucket, Region: region, ForcePathStyle: pathStyle, DisableS3ExpressSessionAuth: true };
  const { url, properties } = config.endpointProvider({ ...rules, ...defined({ Endpoint: endpoint }) }, {});
  const [scheme] = (properties?.authSchemes ?? []) as readonly { signingName?: string; signingRegion?: string }[];
  return {
    isSecure: url.protocol === 'https:',
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    ...(url.port !== '' && { port: Number(url.port) }),
    host: url.host,
    path: url.pathname.replace(/\/+$/, ''),
    region: scheme?.signingRegion ?? region,
    service: scheme?.signingName ?? 's3',
  };
}

const quiet = () => {};
/** Not the SDK's own no-op logger: seeing that one, parts of it fall back to the console. */
const silentLogger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };

type Handle = NodeHttpHandler['handle'];
type Request = Parameters<Handle>[0];
type Handler = Pick<
  NodeHttpHandler,
  'handle' | 'destroy' | 'updateHttpClientConfig' | 'httpHandlerConfigs' | 'metadata'
>;

/** Sends the SDK's requests as all others are sent. */
function handlerOn(wire: Wire): Handler {
  return {
    metadata: { handlerProtocol: 'http/1.1' },
    async handle(request, { abortSignal, requestTimeout } = {}) {
      const signal = abortSignal as AbortSignal | undefined;
      const answer = await wire.send(asSent(request), { signal, answerMs: requestTimeout });
      const headers = Object.fromEntries(
        Object.entries(answer.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
      ) as Record<string, string>;
      tolerateHeaders(headers);
      // None of its requests reads an object.
      const body = tolerateDates(answer.body as Uint8Array);
      return { response: { statusCode: answer.status, reason: answer.reason, headers, body } };
    },
    destroy: quiet,
    updateHttpClientConfig: quiet,
    httpHandlerConfigs: () => ({}),
  };
}

/** A signed request as it goes out: its headers are the bytes that were signed. */
function asSent(request: Request): WireRequest {
  const { method, protocol, hostname, port, headers, body, query } = request;
  const asked = queryOf(query);
  return {
    operation: operationOf(request),
    isSecure: protocol === 'https:',
    hostname: hostname.replace(/^\[|\]$/g, ''),
    ...defined({ port }),
    method,
    path: asked === '' ? request.path : `${request.path}?${asked}`,
    headers: Object.entries(headers).flatMap(([name, value]) => [name, wireText(value)]),
    ...defined({ body: typeof body === 'string' ? Buffer.from(body) : (body as Uint8Array | undefined) }),
    sentBytes: Number(headers['content-length'] ?? 0),
    readsObject: false,
  };
}

/** What the S3 API calls a request: it is billed by that. The SDK itself says so of some only. */
function operationOf({ method, query, headers }: Request): string {
  const ownName = query['x-id']?.toString();
  if (ownName !== undefined) return ownName;
  const isAsked = (name: string) => Object.hasOwn(query, name);
  const isCopy = headers['x-amz-copy-source'] !== undefined;
  switch (method) {
    case 'HEAD':
      return 'HeadObject';
    case 'DELETE':
      return isAsked('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject';
    case 'POST':
      if (isAsked('delete')) return 'DeleteObjects';
      return isAsked('uploads') ? 'CreateMultipartUpload' : 'CompleteMultipartUpload';
    case 'PUT':
      if (isAsked('partNumber')) return isCopy ? 'UploadPartCopy' : 'UploadPart';
      return isCopy ? 'CopyObject' : 'PutObject';
    default:
      if (isAsked('list-type')) return 'ListObjectsV2';
      if (isAsked('versions')) return 'ListObjectVersions';
      if (isAsked('uploads')) return 'ListMultipartUploads';
      if (isAsked('uploadId')) return 'ListParts';
      return 'GetObject';
  }
}

function queryOf(query: Request['query']): string {
  const names = Object.keys(query).sort();
  const pairs = names.flatMap((name) =>
    [query[name] ?? []].flat().map((value) => `${percentEncoded(name)}=${percentEncoded(value)}`),
  );
  return pairs.join('&');
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
