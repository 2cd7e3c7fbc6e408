import type { Body } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { type Backend, BackendError, type StoredObject } from '../../fleet/backend.ts';
import { readingRequest } from '../../fleet/usage-limits.ts';
import type { RunningHash } from '../running-hash.ts';
import { type OtherBytes, whyOther } from './expectation.ts';
import type { CopyReaderDeps, PutOffReason } from './reading.ts';
import type { StoredBytes } from './stored-bytes.ts';

/** One pass over bytes, from a position to their end. */
export interface ReadPass {
  readonly backend: Backend;
  readonly bytes: StoredBytes;
  /** The ETag that every answer must have; absent when the first answer's is taken. */
  readonly etag: string | undefined;
  readonly position: number;
  readonly hash: RunningHash;
  /** Bytes asked for at a time. */
  readonly windowBytes: number;
  readonly alongside?: ((body: Body) => Body) | undefined;
  /** All up to this position is hashed. False ends the pass: it is somebody else's. */
  reached(position: number): boolean;
}

/**
 * How a pass ended, and how far it came. `read` to the end · `cut` no time was left · `over-limit` · `taken` · `replaced` other
 * bytes stand there than those it began with · `other` they are not those expected · `failed`.
 */
export type PassEnd = { readonly position: number } & (
  | { readonly outcome: 'read'; readonly found: StoredObject }
  | { readonly outcome: 'cut' }
  | { readonly outcome: 'taken' }
  | { readonly outcome: 'over-limit'; readonly reason: PutOffReason }
  | { readonly outcome: 'replaced' }
  | { readonly outcome: 'other'; readonly why: OtherBytes }
  | { readonly outcome: 'failed'; readonly error: BackendError }
);

/** How often a window that broke off is gone on with, without any progress in between that is worth a request. */
const tries = 3;
/** Bytes that are worth one: this part of a window. Whoever sends a byte at a time would be asked for as many. */
const leastShare = 1 / 256;

/**
 * Reads window by window, hashing the bytes as they come: what is cut in the midst of a window is not read again. Each window
 * is charged, admitted by its bytes, and begun only while there is time; the first in any case.
 */
export async function runReadPass(deps: CopyReaderDeps, pass: ReadPass): Promise<PassEnd> {
  const { bytes } = pass;
  let { position, etag } = pass;
  const seen: { found?: StoredObject } = {};
  let isFirst = true;
  for (let failures = 0; position < bytes.sizeBytes || seen.found === undefined; isFirst = false) {
    if (!isFirst && deps.clock.now() >= deps.deadline.admitUntil) return { outcome: 'cut', position };
    const before = position;
    const end = await readWindow(
      deps,
      { ...pass, etag, position },
      {
        answered(answer) {
          seen.found = answer;
          etag ??= answer.etag === '' ? undefined : answer.etag;
        },
        advance(next) {
          position = next;
          return pass.reached(next);
        },
      },
    );
    if (end.outcome === 'window') {
      failures = 0;
      continue;
    }
    if (end.outcome !== 'failed') return { ...end, position };
    // All of it came: what failed then has cost nothing.
    if (seen.found !== undefined && position === bytes.sizeBytes && pass.alongside === undefined) continue;
    failures = position - before > pass.windowBytes * leastShare ? 1 : failures + 1;
    const isWorthIt = hasBrokenOff(end.error) && pass.alongside === undefined && failures < tries;
    if (!isWorthIt) return { ...end, position };
  }
  return { outcome: 'read', position, found: seen.found };
}

/** Broken in their midst: whatever came before, the adapter has tried again already. */
function hasBrokenOff({ kind }: BackendError): boolean {
  return kind === 'truncated';
}

type WindowEnd =
  | { readonly outcome: 'window' }
  | Exclude<DistributiveOmit<PassEnd, 'position'>, { readonly outcome: 'read' }>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** What a window shows as it comes. */
interface Arrival {
  /** What the backend says of the whole: as it is to be. */
  answered(found: StoredObject): void;
  /** All up to this position is hashed. False ends the pass. */
  advance(position: number): boolean;
}

async function readWindow(deps: CopyReaderDeps, pass: ReadPass, arrival: Arrival): Promise<WindowEnd> {
  const { backend, bytes, position } = pass;
  const lengthBytes = Math.min(pass.windowBytes, bytes.sizeBytes - position);
  const spend = { ...readingRequest, egressBytes: lengthBytes };
  const leave = await deps.admission.enter(lengthBytes);
  try {
    const budget = await deps.budget();
    const reason = budget.refuses(backend.name, spend);
    if (reason !== null) return { outcome: 'over-limit', reason };
    const giveBack = budget.reserve(backend.name, spend);
    try {
      return await fetchWindow(deps, pass, lengthBytes, arrival);
    } finally {
      giveBack();
    }
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (error.kind === 'cancelled') return { outcome: 'cut' };
    if (error.limit !== undefined) return { outcome: 'over-limit', reason: error.limit };
    return error.kind === 'precondition' ? { outcome: 'replaced' } : { outcome: 'failed', error };
  } finally {
    leave();
  }
}

async function fetchWindow(
  deps: CopyReaderDeps,
  { backend, bytes, position, etag, hash, alongside }: ReadPass,
  lengthBytes: number,
  { answered, advance }: Arrival,
): Promise<WindowEnd> {
  const isWhole = lengthBytes === bytes.sizeBytes;
  const { body, ...found } = await backend.get(
    bytes.storageKey,
    {
      reusesBuffers: alongside === undefined,
      ...defined({
        range: isWhole ? undefined : ([position, position + lengthBytes - 1] as const),
        ifMatch: etag,
      }),
    },
    deps.signal,
  );
  const why = whyOther(bytes, found);
  if (why !== null) {
    await leaveBody(body);
    return { outcome: 'other', why };
  }
  // A backend that does not know If-Match answers all the same.
  if (etag !== undefined && found.etag !== etag) {
    await leaveBody(body);
    return { outcome: 'replaced' };
  }
  answered(found);
  let at = position;
  for await (const chunk of alongside === undefined ? body : alongside(body)) {
    at += chunk.length;
    if (at > position + lengthBytes) throw tooLong(backend.name, bytes, lengthBytes);
    hash.update(chunk);
    if (!advance(at)) return { outcome: 'taken' };
  }
  if (at === position + lengthBytes) return { outcome: 'window' };
  throw new BackendError(
    'truncated',
    backend.name,
    `${reading(backend.name, bytes)}: ${at - position} of ${lengthBytes} bytes came`,
  );
}

function tooLong(name: string, bytes: StoredBytes, lengthBytes: number): BackendError {
  return new BackendError(
    'rejected',
    name,
    `${reading(name, bytes)}: more than the ${lengthBytes} bytes asked for came`,
  );
}

function reading(name: string, { storageKey }: StoredBytes): string {
  return `Cannot read ${JSON.stringify(storageKey)} on "${name}"`;
}

/** Lets go of what is not read to its end: its socket serves others. */
export async function leaveBody(body: Body): Promise<void> {
  await body[Symbol.asyncIterator]().return?.();
}
