import type { ExceededLimit } from './usage-limits.ts';

/**
 * What an error speaks of:
 * `backend` nothing can be done there now · `target` it takes no more bytes for now; reads and deletes go on · `object` the bytes,
 * key or headers that were asked about, and nothing else · `throttling` it asks to be asked less: paced, and counts for nothing ·
 * `unclear` its backend or its object: whether the owner object answers tells · `ourselves` nobody there is to blame.
 */
export type SpeaksOf = 'backend' | 'target' | 'object' | 'throttling' | 'unclear' | 'ourselves';

/** What a kind of error means for whoever meets it. */
export interface ErrorFacts {
  readonly speaksOf: SpeaksOf;
  /** Whether it counts towards opening the breaker: `if-owner-fails` once the owner object cannot be asked either. */
  readonly countsForBreaker: 'always' | 'if-owner-fails' | 'never';
  /** Whether the very same request may go well a moment later. */
  readonly isWorthRetry: boolean;
  /** Whether the answer shows that the backend is at work. */
  readonly showsLife: boolean;
  /** Whether no answer came that is one: what was asked may have happened. */
  readonly isUnanswered: boolean;
  /** Whether what the request named, such as the token of a listing, may be what is not taken. */
  readonly refusesRequest: boolean;
  /** Whether other keys might be let in: those in use may have been replaced. */
  readonly refusesKeys: boolean;
  /** Whether a request to write that was sent once and ended so has surely stored nothing. */
  readonly storesNothing: boolean;
}

type Trait = 'worth-retry' | 'shows-life' | 'unanswered' | 'refuses-request' | 'refuses-keys' | 'stores-nothing';

const breakerRules: Readonly<Record<SpeaksOf, ErrorFacts['countsForBreaker']>> = {
  backend: 'always',
  target: 'never',
  object: 'never',
  throttling: 'never',
  unclear: 'if-owner-fails',
  ourselves: 'never',
};

function about(speaksOf: SpeaksOf, ...traits: readonly Trait[]): ErrorFacts {
  return {
    speaksOf,
    countsForBreaker: breakerRules[speaksOf],
    isWorthRetry: traits.includes('worth-retry'),
    showsLife: traits.includes('shows-life'),
    isUnanswered: traits.includes('unanswered'),
    refusesRequest: traits.includes('refuses-request'),
    refusesKeys: traits.includes('refuses-keys'),
    storesNothing: traits.includes('stores-nothing'),
  };
}

/**
 * Every kind of error of a backend, and what follows from it: the only list of kinds there is. Vendors' codes and statuses
 * become kinds once, at the adapter's edge.
 *
 * Rules: [errors-have-one-table]
 */
export const errorTable = {
  /** NoSuchKey. */
  'not-found': about('object', 'shows-life', 'refuses-request', 'stores-nothing'),
  /** 404 with a delete marker. */
  'delete-marker': about('object', 'shows-life', 'stores-nothing'),
  'no-upload': about('object', 'shows-life', 'stores-nothing'),
  /** 412. What stands there may be what an earlier sending of the same request stored. */
  precondition: about('object', 'shows-life'),
  /** 413, EntityTooLarge. */
  'too-large': about('object', 'shows-life', 'stores-nothing'),
  /** The bytes arrived other than they were sent. */
  'bad-digest': about('object', 'worth-retry', 'stores-nothing'),
  /** It is in an archive tier: its bytes can be read once its owner has had them restored. */
  archived: about('object', 'shows-life', 'stores-nothing'),
  /** It names what of this object it does not take: key, metadata, tags, lock. */
  unacceptable: about('object', 'shows-life', 'refuses-request', 'stores-nothing'),
  /** The backend says that its quota is exceeded, or its disk full. */
  'no-room': about('target', 'stores-nothing'),
  /** SlowDown, 429. */
  throttled: about('throttling', 'worth-retry', 'stores-nothing'),
  /** No connection: refused, no such host, no TLS. */
  unreachable: about('backend', 'worth-retry', 'unanswered', 'stores-nothing'),
  /** The bucket is gone; or, in answer to a copy, the one it was to be copied from. */
  'no-bucket': about('unclear', 'stores-nothing'),
  /** Keys that are unknown, expired or revoked; an account that is closed. */
  credentials: about('backend', 'refuses-keys', 'stores-nothing'),
  /** SignatureDoesNotMatch: a wrong secret, or a header of this one request that arrived as another. */
  signature: about('unclear', 'refuses-keys', 'stores-nothing'),
  /** 401, 403. */
  denied: about('unclear', 'refuses-keys', 'stores-nothing'),
  /** Any other 3xx or 4xx. */
  rejected: about('unclear', 'refuses-request', 'stores-nothing'),
  /** 405, 501. */
  unsupported: about('unclear', 'stores-nothing'),
  /** Any other 5xx, a connection that broke, an answer without sense. */
  unavailable: about('unclear', 'worth-retry', 'unanswered'),
  /** No answer, or a body that stalled. One key may hang where all others answer. It has been waited for already. */
  timeout: about('unclear', 'unanswered'),
  /** Fewer bytes than announced. */
  truncated: about('unclear', 'worth-retry', 'unanswered'),
  /** By our own signal, or not sent because a breaker is open. */
  cancelled: about('ourselves'),
  /** Not sent: a usage limit allows no more of it. */
  'over-limit': about('ourselves', 'stores-nothing'),
  /** The source of the bytes that were being sent failed: the cause is its error. */
  body: about('ourselves'),
  /** This process has no credentials for the backend. */
  'missing-credentials': about('ourselves', 'stores-nothing'),
  /** The keys were refused, and others were read in their place: the next request is signed with those. */
  'stale-credentials': about('ourselves', 'worth-retry', 'stores-nothing'),
} as const satisfies Readonly<Record<string, ErrorFacts>>;

export type BackendErrorKind = keyof typeof errorTable;

/** What is known of an error beyond its kind. */
export interface ErrorDetail {
  /** How often the request was sent [1]. */
  readonly attempts?: number;
  /** What an unclear error speaks of, as the owner object's answer has shown. */
  readonly verdict?: SpeaksOf;
  /** Of `over-limit`: which. */
  readonly limit?: ExceededLimit;
}

/** What went wrong with a backend, typed once, at its edge. */
export class BackendError extends Error {
  override readonly name = 'BackendError';
  readonly kind: BackendErrorKind;
  /** The backend this request went to: the leg that failed. */
  readonly backend: string;
  readonly attempts: number;
  /** The usage limit for which it was not sent; undefined for any other error. */
  readonly limit: ExceededLimit | undefined;
  private readonly verdict: SpeaksOf | undefined;
  constructor(kind: BackendErrorKind, backend: string, message: string, cause?: unknown, detail: ErrorDetail = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.backend = backend;
    this.attempts = detail.attempts ?? 1;
    this.limit = detail.limit;
    this.verdict = detail.verdict;
  }

  /** `unclear` where nobody has asked the owner object, or could not ask it. */
  get speaksOf(): SpeaksOf {
    return this.verdict ?? errorTable[this.kind].speaksOf;
  }

  /** False where only the owner object's answer made it the object's, or its backend's: a moment of trouble looks the same. */
  get isCertain(): boolean {
    return this.verdict === undefined;
  }

  get countsForBreaker(): boolean {
    if (this.verdict !== undefined) return this.verdict === 'backend';
    return errorTable[this.kind].countsForBreaker === 'always';
  }

  get refusesRequest(): boolean {
    return errorTable[this.kind].refusesRequest;
  }

  get refusesKeys(): boolean {
    return errorTable[this.kind].refusesKeys;
  }

  get isUnanswered(): boolean {
    return errorTable[this.kind].isUnanswered;
  }

  /** Whether the same request may go well a moment later. What the adapter sent several times has had its chance. */
  get isWorthRetry(): boolean {
    return errorTable[this.kind].isWorthRetry && this.attempts <= 1;
  }

  /** Whether a request to write that ended so has surely stored nothing: an earlier sending of it may have. */
  get storesNothing(): boolean {
    return errorTable[this.kind].storesNothing && this.attempts <= 1;
  }

  /** The same error, once it is settled what it speaks of. */
  settled(verdict: SpeaksOf): BackendError {
    const { attempts } = this;
    const same = new BackendError(this.kind, this.backend, this.message, this.cause, { attempts, verdict });
    return Object.assign(same, { stack: this.stack });
  }
}

/** Why the source of bytes that were being sent is to blame although it has not failed: the backend gave up waiting for it. */
export class SourceSilence extends Error {
  override readonly name = 'SourceSilence';
}
