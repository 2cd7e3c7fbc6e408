import { BackendError, type BackendErrorKind, type ErrorDetail } from '../errors.ts';
import { adviceOn, type Place, type Refused } from './advice.ts';

/** What was being done when an error was met: the first half of its message. */
export interface Attempted {
  readonly backend: string;
  /** A verb, and its preposition where it needs one: `read`, `list under`. */
  readonly action: string;
  readonly storageKey: string;
  /** Absent: nothing is said of what to look at. */
  readonly place?: Place;
}

/** Thrown by the credentials provider of a connection: this process lacks what it needs, whatever the backend is doing. */
export class MissingCredentialsError extends Error {
  override readonly name = 'MissingCredentialsError';
}

/** Thrown when an answer, or the next bytes of one, did not come in time. Named so that the SDK retries it. */
export class SilenceError extends Error {
  override readonly name = 'TimeoutError';
}

/** Maps, and not objects: a code is text of somebody else's, and `constructor` is a property of every object. */
const kindByCode: ReadonlyMap<string, BackendErrorKind> = new Map<string, BackendErrorKind>([
  ['NoSuchKey', 'not-found'],
  ['NotFound', 'not-found'],
  ['NoSuchVersion', 'not-found'],
  ['NoSuchBucket', 'no-bucket'],
  ['NoSuchUpload', 'no-upload'],
  ['InvalidAccessKeyId', 'credentials'],
  ['AuthorizationHeaderMalformed', 'credentials'],
  ['ExpiredToken', 'credentials'],
  ['InvalidToken', 'credentials'],
  ['TokenRefreshRequired', 'credentials'],
  ['InvalidSecurity', 'credentials'],
  ['AccountProblem', 'credentials'],
  ['AllAccessDisabled', 'credentials'],
  ['NotSignedUp', 'credentials'],
  ['SignatureDoesNotMatch', 'signature'],
  ['RequestTimeTooSkewed', 'signature'],
  ['AccessDenied', 'denied'],
  ['SlowDown', 'throttled'],
  ['SlowDownRead', 'throttled'],
  ['SlowDownWrite', 'throttled'],
  ['Throttling', 'throttled'],
  ['ThrottlingException', 'throttled'],
  ['TooManyRequests', 'throttled'],
  ['TooManyRequestsException', 'throttled'],
  ['RequestLimitExceeded', 'throttled'],
  ['BandwidthLimitExceeded', 'throttled'],
  ['RequestTimeout', 'timeout'],
  ['InternalError', 'unavailable'],
  ['PreconditionFailed', 'precondition'],
  // Another write of the same key is on its way: perhaps one of our own.
  ['ConditionalRequestConflict', 'precondition'],
  ['EntityTooLarge', 'too-large'],
  ['QuotaExceeded', 'no-room'],
  ['InsufficientStorage', 'no-room'],
  ['XMinioStorageFull', 'no-room'],
  ['XMinioAdminBucketQuotaExceeded', 'no-room'],
  ['BadDigest', 'bad-digest'],
  ['InvalidDigest', 'bad-digest'],
  ['XAmzContentSHA256Mismatch', 'bad-digest'],
  ['XAmzContentChecksumMismatch', 'bad-digest'],
  ['KeyTooLongError', 'unacceptable'],
  ['MetadataTooLarge', 'unacceptable'],
  ['InvalidTag', 'unacceptable'],
  ['InvalidObjectState', 'archived'],
  ['InvalidObjectName', 'unacceptable'],
  ['XMinioInvalidObjectName', 'unacceptable'],
  ['NotImplemented', 'unsupported'],
  ['MethodNotAllowed', 'unsupported'],
]);

const kindByStatus: ReadonlyMap<number, BackendErrorKind> = new Map<number, BackendErrorKind>([
  [401, 'denied'],
  [403, 'denied'],
  [404, 'not-found'],
  [405, 'unsupported'],
  [408, 'timeout'],
  [412, 'precondition'],
  [413, 'too-large'],
  [429, 'throttled'],
  [501, 'unsupported'],
  [507, 'no-room'],
]);

/** Codes of sockets to which no connection came about: nothing was sent. */
const unconnected: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** Turns whatever the SDK threw into a `BackendError`. One that is one already passes through. */
export function toBackendError(error: unknown, attempted: Attempted, signal?: AbortSignal): BackendError {
  if (error instanceof BackendError) return error;
  const seen = inspect(error);
  const kind = kindOf(seen, signal);
  const whatIsSo = kind === 'cancelled' ? 'it was cancelled' : describe(seen, attempted.place);
  return backendError(kind, attempted, whatIsSo, error, { attempts: seen.attempts });
}

/** `Cannot read "a/b" on "cold-1": <what is so>`. */
export function backendError(
  kind: BackendErrorKind,
  { backend, action, storageKey }: Attempted,
  whatIsSo: string,
  cause?: unknown,
  detail?: ErrorDetail,
): BackendError {
  const message = `Cannot ${action} ${JSON.stringify(storageKey)} on "${backend}": ${whatIsSo}`;
  return new BackendError(kind, backend, message, cause, detail);
}

/** The kind of an error that an answer reports for one key, such as an entry of DeleteObjects. */
export function kindOfCode(code: string): BackendErrorKind {
  return kindByCode.get(code) ?? 'rejected';
}

/** Whether an answer of 4xx or 5xx asks for fewer requests, told before the SDK has looked at it. */
export function isSlowDown(answer: {
  readonly statusCode: number;
  readonly reason?: string;
  readonly body?: Uint8Array;
}) {
  if (kindByStatus.get(answer.statusCode) === 'throttled' || isSlowDownReason(answer.reason)) return true;
  const [, code = ''] = /<Code>(\w+)<\/Code>/.exec(Buffer.from(answer.body ?? []).toString()) ?? [];
  return kindByCode.get(code) === 'throttled';
}

/** The answer to a HEAD has no body to name its code. */
function isSlowDownReason(reason = ''): boolean {
  return /^slow ?down/i.test(reason);
}

/** `status` is absent when no answer came at all. */
interface Seen extends Refused {
  readonly reason: string;
  readonly attempts: number;
}

interface SdkErrorShape {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly AWSAccessKeyId?: unknown;
  readonly body?: unknown;
  readonly $responseBodyText?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
  readonly $response?: {
    readonly statusCode?: number;
    readonly reason?: string;
    readonly headers?: Readonly<Record<string, string>>;
  };
}

function inspect(error: unknown): Seen {
  const shape: SdkErrorShape = typeof error === 'object' && error !== null ? error : { message: error };
  return {
    name: String(shape.name ?? 'Error'),
    code: codeOf(shape.code),
    message: String(shape.message ?? ''),
    status: shape.$response?.statusCode ?? shape.$metadata?.httpStatusCode,
    reason: shape.$response?.reason ?? '',
    headers: shape.$response?.headers ?? {},
    accessKeyId: textOf(shape.AWSAccessKeyId),
    body: textOf(shape.body) ?? textOf(shape.$responseBodyText),
    attempts: shape.$metadata?.attempts ?? 1,
  };
}

/** Whatever OpenSSL calls it: the two sides did not understand each other. */
function codeOf(code: unknown): string | undefined {
  const text = textOf(code);
  return text?.startsWith('ERR_SSL_') ? 'EPROTO' : text;
}

function kindOf(seen: Seen, signal: AbortSignal | undefined): BackendErrorKind {
  if (seen.name === 'MissingCredentialsError') return 'missing-credentials';
  if (seen.name === 'UnsendableHeaderError') return 'unacceptable';
  if (seen.name === 'URIError') return 'rejected'; // a key with half a surrogate pair has no UTF-8
  if (seen.status === undefined) return kindWithoutAnswer(seen, signal);
  if (seen.status === 503 && isSlowDownReason(seen.reason)) return 'throttled';
  const kind = kindByCode.get(seen.name) ?? kindByStatus.get(seen.status) ?? kindOfClass(seen.status);
  return kind === 'not-found' && seen.headers['x-amz-delete-marker'] === 'true' ? 'delete-marker' : kind;
}

/** An answer of 2xx that the SDK could not make sense of is the backend's fault as much as a 5xx. */
function kindOfClass(status: number): BackendErrorKind {
  return status >= 300 && status < 500 ? 'rejected' : 'unavailable';
}

/** The SDK renames resets to `TimeoutError`, so that the code of the socket's error goes first. */
function kindWithoutAnswer(seen: Seen, signal: AbortSignal | undefined): BackendErrorKind {
  if (signal?.aborted) return 'cancelled';
  if (seen.code === 'ETIMEDOUT') return 'timeout';
  if (seen.code !== undefined && unconnected.has(seen.code)) return 'unreachable';
  // Node refuses a header or a path before anything is sent.
  if (seen.code?.startsWith('ERR_INVALID') || seen.code === 'ERR_UNESCAPED_CHARACTERS') return 'rejected';
  return seen.code === undefined && seen.name === 'TimeoutError' ? 'timeout' : 'unavailable';
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function describe(seen: Seen, place: Place | undefined): string {
  const advice = place === undefined ? undefined : adviceOn(seen, place);
  return advice === undefined ? answered(seen) : `${answered(seen)}; ${advice}`;
}

/** The SDK gives an answer without a code, such as every one to a HEAD, a name and a message that say nothing. */
function answered({ status, name, message, code }: Seen): string {
  const [line = ''] = message.split('\n');
  // OpenSSL's own words name a line of its source.
  if (code === 'EPROTO') return 'the connection was not understood';
  if (status === undefined) return line.trim() || code || name;
  if (name === 'Unknown' || name === 'UnknownError') return `the backend answered ${status} without a reason`;
  if (name === 'Error' || name === 'SyntaxError') return `the backend answered ${status}, and not as S3 does`;
  return `the backend answered ${status} ${name}${line ? ` (${line})` : ''}`;
}
