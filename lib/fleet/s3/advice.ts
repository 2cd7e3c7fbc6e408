/** Where a backend's requests go: what its entry in the fleet file says. */
export interface Place {
  /** Absent for AWS itself. */
  readonly endpoint?: string;
  readonly region: string;
  readonly bucket: string;
  readonly pathStyle: boolean;
}

/** What is known of a refusal. */
export interface Refused {
  /** The code of the answer; `Unknown` where it has none. */
  readonly name: string;
  /** The code of the socket's error. */
  readonly code: string | undefined;
  readonly message: string;
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The key with which the request was signed, as the answer names it. */
  readonly accessKeyId: string | undefined;
  /** An answer that is not S3's. */
  readonly body: string | undefined;
}

type Advice = (refused: Refused, place: Place) => string;

/** Codes of answers that a person can do something about. */
const byCode: ReadonlyMap<string, Advice> = new Map<string, Advice>([
  [
    'SignatureDoesNotMatch',
    (refused, { region }) =>
      `check the secret key that belongs to ${keyOf(refused)}; if it is right, check \`region\`, which is "${region}"`,
  ],
  ['InvalidAccessKeyId', (refused) => `check \`credentials\`: ${keyOf(refused)} is not known there`],
  ['ExpiredToken', () => 'these are temporary credentials that have expired: get new ones'],
  ['InvalidToken', () => 'check the session token: it does not belong to these keys'],
  ['RequestTimeTooSkewed', (refused) => `set the clock of this machine${clockThere(refused)}`],
  ['RequestExpired', (refused) => `set the clock of this machine${clockThere(refused)}`],
  ['AuthorizationHeaderMalformed', wrongRegion],
  ['PermanentRedirect', wrongRegion],
  ['TemporaryRedirect', wrongRegion],
  ['AuthorizationQueryParametersError', wrongRegion],
  ['IllegalLocationConstraintException', wrongRegion],
  ['AccessDenied', () => 'check what its keys may do with this bucket and prefix'],
  ['AccountProblem', closedAccount],
  ['AllAccessDisabled', closedAccount],
  ['NotSignedUp', closedAccount],
  ['QuotaExceeded', noRoom],
  ['InsufficientStorage', noRoom],
  ['XMinioStorageFull', noRoom],
  ['XMinioAdminBucketQuotaExceeded', noRoom],
  [
    'NoSuchBucket',
    (_, place) => `check \`bucket\`, which is "${place.bucket}", and \`endpoint\`, which is ${at(place)}`,
  ],
]);

/** Codes of connections that did not come about. */
const bySocket: ReadonlyMap<string, Advice> = new Map<string, Advice>([
  ['ENOTFOUND', unknownHost],
  ['EAI_AGAIN', () => 'names of hosts cannot be looked up here now: check the network of this machine'],
  ['EHOSTUNREACH', noWay],
  ['EHOSTDOWN', noWay],
  ['ENETUNREACH', noWay],
  ['ETIMEDOUT', noWay],
  ['ECONNREFUSED', (_, place) => `nothing listens there: check \`endpoint\`, which is ${at(place)}`],
  ['EPROTO', (_, place) => `there is no TLS there: check whether \`endpoint\`, which is ${at(place)}, should be http`],
  ['ECONNRESET', perhapsTls],
  ['CERT_HAS_EXPIRED', () => 'its certificate has expired; or the clock of this machine is wrong'],
  ['CERT_NOT_YET_VALID', () => 'its certificate is not valid yet; or the clock of this machine is wrong'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', untrusted],
  ['SELF_SIGNED_CERT_IN_CHAIN', untrusted],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', untrusted],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', untrusted],
  [
    'ERR_TLS_CERT_ALTNAME_INVALID',
    ({ message }, { pathStyle }) =>
      pathStyle ? `check \`endpoint\`: ${message}` : `its certificate is for another host: try \`"pathStyle": true\``,
  ],
]);

/**
 * What a person who set the backend up may look at: which key, region, clock or address. Undefined where the answer shows
 * nothing of that.
 */
export function adviceOn(refused: Refused, place: Place): string | undefined {
  if (refused.status === undefined) return bySocket.get(refused.code ?? '')?.(refused, place);
  if (/https/i.test(refused.body ?? '')) return `it expects https: check \`endpoint\`, which is ${at(place)}`;
  const known = byCode.get(refused.name);
  if (known !== undefined) return known(refused, place);
  if (refused.headers['x-amz-bucket-region'] !== undefined && refused.status < 403) return wrongRegion(refused, place);
  const isMute = /^Unknown/.test(refused.name) && [400, 401, 403].includes(refused.status);
  return isMute ? 'check keys, `region` and the clock of this machine: `holdfast doctor` shows the reason' : undefined;
}

function wrongRegion({ headers, message }: Refused, { region }: Place): string {
  const right = headers['x-amz-bucket-region'] ?? /expecting '([\w-]+)'/.exec(message)?.[1];
  const hint = right === undefined ? '' : `; the bucket is in "${right}"`;
  return `check \`region\`, which is "${region}", and \`endpoint\`${hint}`;
}

function unknownHost(_: Refused, place: Place): string {
  const style = place.pathStyle || place.endpoint === undefined ? '' : '; or try `"pathStyle": true`';
  return `there is no such host: check \`endpoint\`, which is ${at(place)}${style}`;
}

function noWay(_: Refused, place: Place): string {
  return `check the network between here and \`endpoint\`, which is ${at(place)}`;
}

function closedAccount(): string {
  return 'the provider has closed or limited the account: ask it why';
}

function noRoom(): string {
  return 'make room there, raise its limit with the provider, or set `quotaBytes` so that Holdfast stays below it';
}

function untrusted(): string {
  return 'its certificate is signed by nobody whom Node knows: name the authority in NODE_EXTRA_CA_CERTS';
}

/** A TLS server hangs up on what is no TLS; so does one that has just stopped. */
function perhapsTls(_: Refused, place: Place): string {
  return place.endpoint?.startsWith('http:') === true
    ? `if this happens every time, check whether \`endpoint\`, which is ${at(place)}, should be https`
    : 'the connection was cut';
}

function keyOf({ accessKeyId }: Refused): string {
  return accessKeyId === undefined ? 'its access key' : `access key "${accessKeyId}"`;
}

function clockThere({ headers }: Refused): string {
  return headers.date === undefined ? '' : `: there it is ${headers.date}`;
}

function at({ endpoint, region }: Place): string {
  return endpoint === undefined ? `that of AWS in "${region}"` : `"${endpoint}"`;
}
