import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { S3Error } from './errors.ts';
import type { S3Request } from './s3-request.ts';

export interface S3Credential {
  accessKeyId: string;
  secretAccessKey: string;
  /** Everything that changes something is `AccessDenied`. */
  readOnly?: boolean;
  /** Deletes of objects and buckets are `AccessDenied`. */
  noDelete?: boolean;
}

export interface SigningContext {
  signingKey: Buffer;
  amzDate: string;
  scope: string;
  seedSignature: string;
}

export interface Authentication {
  credential: S3Credential;
  /** The value of x-amz-content-sha256: a hex digest, UNSIGNED-PAYLOAD or a STREAMING-... name. */
  payload: string;
  signing: SigningContext;
}

export interface SignatureRules {
  credentials: readonly S3Credential[];
  nowMs: number;
  maxClockSkewMs: number;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

/** Verifies Signature Version 4, in headers or presigned; throws the S3Error that AWS answers. */
export function authenticate(request: S3Request, rules: SignatureRules): Authentication {
  const authorization = request.headers.get('authorization');
  if (authorization !== undefined && request.query.has('X-Amz-Signature')) {
    throw new S3Error(
      'InvalidArgument',
      'Only one auth mechanism allowed; the query and the Authorization header both carry one.',
    );
  }
  if (authorization !== undefined) return authenticateHeader(request, authorization, rules);
  if (request.query.has('X-Amz-Algorithm') || request.query.has('X-Amz-Signature'))
    return authenticateQuery(request, rules);
  throw new S3Error('AccessDenied');
}

function authenticateHeader(request: S3Request, authorization: string, rules: SignatureRules): Authentication {
  const malformed = (message: string) =>
    new S3Error('AuthorizationHeaderMalformed', `The authorization header is malformed; ${message}`);
  if (authorization.split(' ', 1)[0] !== ALGORITHM) {
    throw new S3Error('InvalidArgument', 'Unsupported Authorization Type');
  }
  const fields = new Map<string, string>();
  for (const piece of authorization.slice(ALGORITHM.length).split(',')) {
    const equals = piece.indexOf('=');
    fields.set(piece.slice(0, equals).trim(), piece.slice(equals + 1).trim());
  }
  const credentialField = fields.get('Credential');
  const signedHeaders = fields.get('SignedHeaders');
  const signature = fields.get('Signature');
  if (!credentialField || !signedHeaders || !signature) {
    throw malformed('it requires three components: Credential, SignedHeaders, and Signature.');
  }
  const scope = parseScope(credentialField, malformed);
  const amzDate = request.headers.get('x-amz-date') ?? dateHeaderAsAmzDate(request.headers.get('date'));
  if (amzDate === undefined)
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  const requestMs = parseAmzDate(amzDate);
  if (requestMs === undefined)
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  if (scope.date !== amzDate.slice(0, 8)) {
    throw malformed(
      `Invalid credential date "${scope.date}". This date is not the same as X-Amz-Date: "${amzDate.slice(0, 8)}".`,
    );
  }
  if (Math.abs(rules.nowMs - requestMs) > rules.maxClockSkewMs) throw tooSkewed(amzDate, rules);
  const payload = request.headers.get('x-amz-content-sha256');
  if (payload === undefined)
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  return verify(request, rules, { ...scope, amzDate, signedHeaders, signature, payload, query: request.queryPairs });
}

function authenticateQuery(request: S3Request, rules: SignatureRules): Authentication {
  const wrong = (message: string) => new S3Error('AuthorizationQueryParametersError', message);
  const parameter = (name: string) => {
    const value = request.query.get(name);
    if (!value) {
      throw wrong(
        'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.',
      );
    }
    return value;
  };
  const algorithm = parameter('X-Amz-Algorithm');
  const scope = parseScope(parameter('X-Amz-Credential'), (message) =>
    wrong(`Error parsing the X-Amz-Credential parameter; ${message}`),
  );
  const signature = parameter('X-Amz-Signature');
  const amzDate = parameter('X-Amz-Date');
  const signedHeaders = parameter('X-Amz-SignedHeaders');
  const expires = parameter('X-Amz-Expires');
  if (algorithm !== ALGORITHM) throw wrong('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"');
  const requestMs = parseAmzDate(amzDate);
  if (requestMs === undefined || scope.date !== amzDate.slice(0, 8)) {
    throw wrong("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\" and match the credential date");
  }
  if (!/^\d{1,9}$/.test(expires) || Number(expires) < 1 || Number(expires) > MAX_EXPIRES_SECONDS) {
    throw wrong('X-Amz-Expires must be between 1 and 604800 seconds');
  }
  if (rules.nowMs > requestMs + Number(expires) * 1000) throw new S3Error('AccessDenied', 'Request has expired');
  if (requestMs - rules.nowMs > rules.maxClockSkewMs) throw tooSkewed(amzDate, rules);
  const payload =
    request.query.get('X-Amz-Content-Sha256') ?? request.headers.get('x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD';
  const query = request.queryPairs.filter(([name]) => name !== 'X-Amz-Signature');
  return verify(request, rules, { ...scope, amzDate, signedHeaders, signature, payload, query });
}

interface Claim {
  accessKeyId: string;
  date: string;
  region: string;
  amzDate: string;
  signedHeaders: string;
  signature: string;
  payload: string;
  query: readonly (readonly [string, string])[];
}

function verify(request: S3Request, rules: SignatureRules, claim: Claim): Authentication {
  const credential = rules.credentials.find((one) => one.accessKeyId === claim.accessKeyId);
  if (!credential) throw new S3Error('InvalidAccessKeyId', { fields: { AWSAccessKeyId: claim.accessKeyId } });
  const names = claim.signedHeaders.split(';').map((name) => name.toLowerCase());
  const unsigned = [...request.headers.keys()].filter(
    (name) => (name === 'host' || name.startsWith('x-amz-')) && !names.includes(name),
  );
  if (unsigned.length > 0) {
    const fields = { HeadersNotSigned: unsigned.join(', ') };
    throw new S3Error('AccessDenied', {
      message: 'There were headers present in the request which were not signed',
      fields,
    });
  }
  const canonicalHeaders = names.map(
    (name) => `${name}:${(request.headers.get(name) ?? '').replace(/^[ \t]+|[ \t]+$/g, '').replace(/ +/g, ' ')}\n`,
  );
  const canonicalRequest = [
    request.method,
    uriEncode(request.path, '/'),
    canonicalQuery(claim.query),
    canonicalHeaders.join(''),
    names.join(';'),
    claim.payload,
  ].join('\n');
  const scope = `${claim.date}/${claim.region}/s3/aws4_request`;
  // Header values arrive as Latin-1; encoding them back gives the bytes that were on the wire.
  const hash = createHash('sha256').update(canonicalRequest, 'latin1').digest('hex');
  const stringToSign = `${ALGORITHM}\n${claim.amzDate}\n${scope}\n${hash}`;
  const signingKey = deriveSigningKey(credential.secretAccessKey, claim);
  if (!isSameText(hmac(signingKey, stringToSign).toString('hex'), claim.signature)) {
    const fields = {
      AWSAccessKeyId: claim.accessKeyId,
      StringToSign: stringToSign,
      SignatureProvided: claim.signature,
      CanonicalRequest: canonicalRequest,
    };
    throw new S3Error('SignatureDoesNotMatch', { fields });
  }
  const signing = { signingKey, amzDate: claim.amzDate, scope, seedSignature: claim.signature };
  return { credential, payload: claim.payload, signing };
}

export function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

export function isSameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

/** More than the servers of one process have credentials, from one day to the next. */
const mostKeys = 100;
const cachedKeys = new Map<string, Buffer>();

/** The key changes once a day and costs four HMACs. Several servers in one process have a key each. */
function deriveSigningKey(secret: string, { date, region }: Claim): Buffer {
  const id = `${secret}\n${date}\n${region}`;
  const cached = cachedKeys.get(id);
  if (cached !== undefined) return cached;
  if (cachedKeys.size >= mostKeys) cachedKeys.clear();
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), 's3'), 'aws4_request');
  cachedKeys.set(id, key);
  return key;
}

function parseScope(
  text: string,
  wrong: (message: string) => S3Error,
): { accessKeyId: string; date: string; region: string } {
  const pieces = text.split('/');
  const [date, region, service, terminator] = pieces.slice(-4);
  const accessKeyId = pieces.slice(0, -4).join('/');
  if (!accessKeyId || !date || !region || !service || !terminator) {
    throw wrong('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".');
  }
  if (!/^\d{8}$/.test(date))
    throw wrong(`incorrect date format "${date}". This date in the credential must be in the format "yyyyMMdd".`);
  if (service !== 's3') throw wrong(`incorrect service "${service}". This endpoint belongs to "s3".`);
  if (terminator !== 'aws4_request')
    throw wrong(`incorrect terminal "${terminator}". This endpoint uses "aws4_request".`);
  return { accessKeyId, date, region };
}

function canonicalQuery(pairs: readonly (readonly [string, string])[]): string {
  return pairs
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .sort(([a, x], [b, y]) => (a === b ? compare(x, y) : compare(a, b)))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function uriEncode(text: string, keep = ''): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return keep === '/' ? encoded.replaceAll('%2F', '/') : encoded;
}

function parseAmzDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

function dateHeaderAsAmzDate(date: string | undefined): string | undefined {
  const ms = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

function tooSkewed(amzDate: string, rules: SignatureRules): S3Error {
  const fields = {
    RequestTime: amzDate,
    ServerTime: new Date(rules.nowMs).toISOString(),
    MaxAllowedSkewMilliseconds: String(rules.maxClockSkewMs),
  };
  return new S3Error('RequestTimeTooSkewed', { fields });
}
