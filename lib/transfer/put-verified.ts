import { createHash } from 'node:crypto';
import { bodyOf } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type Backend, BackendError, type PutRequest } from '../fleet/backend.ts';
import { describeBytes } from './describe-bytes.ts';
import { headersDigest } from './headers-digest.ts';
import { markName } from './mark.ts';
import type { StoreRequest } from './put-parts.ts';
import { type Refused, refusal } from './refusal.ts';
import { type Digest, digestOf, verifying } from './verify.ts';

/**
 * `stored` the backend holds exactly these bytes · `wrong` it holds others, under this storage key, unrecorded · `refused` it was
 * asked once, and its answer says that it took nothing: there are no bytes, and none will come.
 */
export type StoreOutcome =
  | { readonly outcome: 'stored'; readonly digest: Digest }
  | Refused
  | { readonly outcome: 'wrong'; readonly detail: string };

/**
 * Writes bytes under a fresh storage key and makes sure that the backend stored them. Source bytes are hashed on the way
 * and compared before the last one leaves. Throws `BackendError` (kind `body` when the source failed).
 */
export async function putVerified(to: Backend, request: StoreRequest, signal?: AbortSignal): Promise<StoreOutcome> {
  const stored = await putBytes(to, request, signal);
  if (stored.outcome !== 'stored' || !mayAlterHeaders(to, request)) return stored;
  // Other headers on a recorded copy are evidence against it: so it must have had the right ones once.
  const found = await to.head(request.storageKey, signal);
  const isSame =
    found !== null && headersDigest(found.headers, found.metadata) === headersDigest(request.headers, request.metadata);
  return isSame ? stored : wrong(to, request.storageKey, 'other headers or user metadata');
}

/** What every backend keeps as it is sent: printable ASCII, without white space that means nothing. */
const unalterable = /^(?! )[ -~]*$(?<! )/;

function mayAlterHeaders(to: Backend, { headers, metadata }: StoreRequest): boolean {
  const texts = [...Object.values(headers ?? {}), ...Object.values(metadata ?? {})];
  return (to.altersHeaders === true && texts.length > 0) || texts.some((text) => !unalterable.test(text));
}

async function putBytes(to: Backend, request: StoreRequest, signal?: AbortSignal): Promise<StoreOutcome> {
  const { storageKey, expected, parts } = request;
  if (parts !== undefined && expected.sizeBytes > parts.aboveBytes) {
    const { putInParts } = await import('./put-parts.ts');
    const written = await putInParts(to, request, parts, signal);
    if (written.outcome === 'refused') return written;
    const sent = { sizeBytes: expected.sizeBytes, sha256: written.sha256 };
    return written.isProven ? { outcome: 'stored', digest: sent } : readBack(to, storageKey, sent, signal);
  }
  let digest: Digest | undefined;
  // Where the SHA-256 that goes along is checked, the answer says what was stored.
  const md5 = to.checksSha256 && expected.sha256 !== undefined ? undefined : createHash('md5');
  const keep = (seen: Digest) => {
    digest = seen;
  };
  const put: PutRequest = {
    storageKey,
    sizeBytes: expected.sizeBytes,
    body: verifying(request.body, expected, request.what, keep, md5),
    ...describeBytes(request, to.name, storageKey),
    ...defined({ sha256: expected.sha256, ifAbsent: request.ifAbsent, ifMatch: request.ifMatch }),
  };
  // An empty body may never be asked for its first chunk.
  const digestNow = async () => digest ?? digestOf(bodyOf(new Uint8Array()));
  const answer = await to.put(put, signal).catch((error: unknown) => {
    if (mayBeOurOwn(to, error)) return takeForSent(to, put, digestNow, error, signal);
    return refusal(to, error);
  });
  if ('outcome' in answer) return answer;
  const sent = await digestNow();
  // So does an ETag that is the MD5 of what was sent. Any other answer proves nothing, so the bytes are read back.
  const isProven = answer.sha256 === sent.sha256 || answer.etag.replaceAll('"', '') === md5?.digest('hex');
  if (isProven) return { outcome: 'stored', digest: sent };
  return readBack(to, storageKey, sent, signal);
}

/** Sent again, a write to an absent key is refused for what its own first sending stored. */
function mayBeOurOwn(to: Backend, error: unknown): error is BackendError {
  return (
    error instanceof BackendError && error.backend === to.name && error.kind === 'precondition' && error.attempts > 1
  );
}

/** Only what stands there with the very bytes, headers and mark that were sent is taken for sent; else the error stands. */
async function takeForSent(
  to: Backend,
  { storageKey, headers, metadata = {} }: PutRequest,
  digestNow: () => Promise<Digest>,
  refused: BackendError,
  signal?: AbortSignal,
): Promise<StoreOutcome> {
  try {
    const sent = await digestNow();
    const found = await to.get(storageKey, { reusesBuffers: true }, signal);
    const { sha256 } = await digestOf(found.body);
    const isDescribed = headersDigest(found.headers, found.metadata) === headersDigest(headers, metadata);
    const isOurs = isDescribed && found.metadata[markName] === metadata[markName] && sha256 === sent.sha256;
    if (isOurs) return { outcome: 'stored', digest: sent };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
  }
  throw refused;
}

async function readBack(to: Backend, storageKey: string, sent: Digest, signal?: AbortSignal): Promise<StoreOutcome> {
  const stored = await digestOf((await to.get(storageKey, { reusesBuffers: true }, signal)).body);
  if (stored.sha256 === sent.sha256) return { outcome: 'stored', digest: sent };
  return wrong(to, storageKey, 'other bytes');
}

function wrong(to: Backend, storageKey: string, what: string): StoreOutcome {
  return { outcome: 'wrong', detail: `Backend "${to.name}" stored ${what} than it was sent for "${storageKey}"` };
}
