import { awsAdvice } from '../../base/aws-advice.ts';
import { StoreError } from '../port.ts';

/** What was being done when an error came: the verb phrase and the tables it touched, for the message. */
export interface Action {
  readonly doing: string;
  readonly tables: readonly string[];
}

/**
 * A write whose answer never came. It hides the SDK's error from the SDK's own retries: a resend is the caller's
 * decision, because after it even a refusal no longer means that the first send had no effect.
 */
export class UnansweredWrite extends Error {
  override readonly name = 'UnansweredWrite';
  readonly reason: unknown;
  constructor(reason: unknown) {
    super('A write was not answered');
    this.reason = reason;
  }
}

const throttlingNames = new Set([
  'ThrottlingException',
  'Throttling',
  'ThrottlingError',
  'ProvisionedThroughputExceeded',
  'ProvisionedThroughputExceededException',
  'RequestLimitExceeded',
  'LimitExceededException',
  'TooManyRequestsException',
]);

const deniedNames = new Set([
  'AccessDeniedException',
  'AccessDenied',
  'UnrecognizedClientException',
  'InvalidSignatureException',
  'IncompleteSignatureException',
  'IncompleteSignature',
  'MissingAuthenticationTokenException',
  'MissingAuthenticationToken',
  'ExpiredTokenException',
  'ExpiredToken',
  'InvalidClientTokenId',
]);

const noCredentialsNames = new Set(['CredentialsProviderError', 'TokenProviderError']);

const neverSentCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

const lostAnswerCodes = new Set(['ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_PREMATURE_CLOSE']);

const lostAnswerNames = new Set([
  'TimeoutError',
  'AbortError',
  'RequestTimeout',
  'RequestTimeoutException',
  'InternalServerError',
  'InternalFailure',
  'ServiceUnavailable',
  'TransactionInProgressException',
]);

/** True when a request may have reached DynamoDB without our seeing its answer. */
export function isUnanswered(error: unknown): boolean {
  if (isThrottling(error) || isNeverSent(error)) return false;
  return lostAnswerNames.has(nameOf(error)) || lostAnswerCodes.has(codeOf(error)) || statusOf(error) >= 500;
}

export function isThrottling(error: unknown): boolean {
  return throttlingNames.has(nameOf(error));
}

function isNeverSent(error: unknown): boolean {
  if (neverSentCodes.has(codeOf(error))) return true;
  // The SDK tells a connection that was never made from a lost answer by its text alone.
  return nameOf(error) === 'TimeoutError' && textOf(error).includes('did not establish a connection');
}

/** The one place where an error of the SDK becomes a `StoreError`. */
export function storeErrorOf(error: unknown, action: Action): StoreError {
  if (error instanceof StoreError) return error;
  if (error instanceof UnansweredWrite) return unanswered(error.reason, action);
  const tables = action.tables.map((name) => `"${name}"`).join(', ');
  const name = nameOf(error);
  if (name === 'ResourceNotFoundException') {
    const subject = action.tables.length === 1 ? `table ${tables} does not exist` : `one of ${tables} does not exist`;
    return new StoreError(
      'missing-table',
      `Cannot ${action.doing}: ${subject}; check AWS_REGION and the names of the tables, or run \`holdfast init\` to make them`,
      error,
    );
  }
  const detail = `${name}: ${textOf(error)}`;
  if (noCredentialsNames.has(name)) {
    const remedy = 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE';
    return new StoreError('denied', `Cannot ${action.doing}: this process has no AWS credentials; ${remedy}`, error);
  }
  if (detail.includes('Region is missing')) {
    return new StoreError(
      'rejected',
      `Cannot ${action.doing}: no AWS region is configured; set AWS_REGION, or HOLDFAST_HOME for tables on this machine`,
      error,
    );
  }
  if (isThrottling(error)) {
    return new StoreError('throttled', `Cannot ${action.doing}: DynamoDB throttles ${tables} (${detail})`, error);
  }
  if (deniedNames.has(name)) {
    const toCheck = awsAdvice(name, textOf(error)) ?? 'check what these credentials may do with the tables';
    return new StoreError(
      'denied',
      `Cannot ${action.doing}: access to ${tables} was denied (${detail}): ${toCheck}`,
      error,
    );
  }
  if (isNeverSent(error)) {
    const places = 'AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB and the network of this machine';
    const whatIsSo = `DynamoDB is unreachable (${detail}); check ${places}`;
    return new StoreError('unreachable', `Cannot ${action.doing}: ${whatIsSo}`, error);
  }
  if (isUnanswered(error)) return unanswered(error, action);
  if (codeOf(error) === 'EPROTO' || isNotDynamo(error)) {
    const what = codeOf(error) === 'EPROTO' ? 'does not speak TLS' : 'is no DynamoDB';
    const whatIsSo = `what answers at its endpoint ${what}; check AWS_ENDPOINT_URL_DYNAMODB`;
    return new StoreError('rejected', `Cannot ${action.doing}: ${whatIsSo}`, error);
  }
  return new StoreError('rejected', `Cannot ${action.doing}: DynamoDB rejected the request (${detail})`, error);
}

/** An answer that the SDK could not read, or that names no error: DynamoDB's own do. */
function isNotDynamo(error: unknown): boolean {
  return error instanceof SyntaxError || ['Unknown', 'UnknownError'].includes(nameOf(error));
}

function unanswered(error: unknown, action: Action): StoreError {
  const detail = `${nameOf(error)}: ${textOf(error)}`;
  return new StoreError(
    'unanswered',
    `Cannot say whether an attempt to ${action.doing} had its effect: DynamoDB did not answer (${detail})`,
    error,
  );
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function statusOf(error: unknown): number {
  if (!(error instanceof Error) || !('$metadata' in error)) return 0;
  const metadata = error.$metadata as { httpStatusCode?: number } | undefined;
  return metadata?.httpStatusCode ?? 0;
}

function textOf(error: unknown): string {
  // A connection refused on both address families comes as an AggregateError without a message of its own.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(textOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
