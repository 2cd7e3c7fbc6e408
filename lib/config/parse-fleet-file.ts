import * as v from 'valibot';
import { encryptingKeyOf, keyIdOf, keysOf } from './encryption.ts';
import { overlaps } from './place.ts';
import { ConfigError } from './problems.ts';

const namePattern = /^[a-z0-9][a-z0-9-]{0,30}$/;
const nameRule = '1 to 31 of a-z, 0-9 and "-", not starting with "-"';

const name = v.pipe(
  v.string(),
  v.regex(namePattern, (issue) => `"${issue.input}" is not a name (${nameRule})`),
  // The one name of this form that every object in JavaScript has already.
  v.notValue('constructor', '"constructor" cannot be a name'),
);
const amount = v.pipe(
  v.number(),
  v.integer((issue) => `${issue.input} is not a whole number`),
  v.minValue(0, (issue) => `${issue.input} is below 0 (0 means no limit)`),
  v.maxValue(Number.MAX_SAFE_INTEGER, (issue) => `${issue.input} is above ${Number.MAX_SAFE_INTEGER}`),
);
const count = v.pipe(
  v.number(),
  v.integer((issue) => `${issue.input} is not a whole number`),
  v.minValue(1, (issue) => `${issue.input} is below 1`),
);
/** What a backend shares with others: a provider, a region. */
const labelValue = v.pipe(
  v.string(),
  v.regex(/^[ -~]{1,63}$/, (issue) => `"${issue.input}" is not a label's value (1 to 63 printable ASCII characters)`),
);
const text = (what: string) => v.pipe(v.string(), v.minLength(1, `${what} must not be empty`));
/** Ill-formed text becomes other text on its way to a backend, where it could meet the prefix of another one. */
const unicode = v.pipe(
  v.string(),
  v.check(
    (value) => value.isWellFormed(),
    (issue) => `"${issue.input}" is not valid Unicode: it has a lone surrogate`,
  ),
);
const envName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, (issue) => `"${issue.input}" is not the name of an environment variable`),
);

const credentials = v.union(
  [
    v.strictObject({ secretArn: text('secretArn') }),
    v.strictObject({ env: envName }),
    v.strictObject({ accessKeyId: text('accessKeyId'), secretAccessKey: text('secretAccessKey') }),
    v.literal('role'),
  ],
  'must be {"secretArn"}, {"env"}, {"accessKeyId", "secretAccessKey"} or "role"',
);

const endpoint = v.pipe(
  v.string(),
  v.check(
    // A URL reads "\\" as "/" and skips white space.
    (value) => /^https?:\/\/[^\s/\\?#@]+\/?$/.test(value) && URL.canParse(value),
    (issue) => `"${issue.input}" is not an endpoint (http:// or https://, host and port only)`,
  ),
);

/** What a backend can do that a check of it cannot tell, or told wrong. */
const capabilities = v.strictObject({
  conditionalPut: v.optional(v.boolean()),
  conditionalCompletion: v.optional(v.boolean()),
  conditionalCopies: v.optional(v.boolean()),
  conditionalDelete: v.optional(v.boolean()),
  checksumSha256: v.optional(v.boolean()),
  bulkDelete: v.optional(v.boolean()),
  keepsVersions: v.optional(v.boolean()),
  partCopy: v.optional(v.boolean()),
  attestsCopies: v.optional(v.boolean()),
  listsInByteOrder: v.optional(v.boolean()),
  startsAfterKeys: v.optional(v.boolean()),
  listsHeadEtags: v.optional(v.boolean()),
  tags: v.optional(v.boolean()),
  keepsHeaders: v.optional(v.boolean()),
  takesDotSegments: v.optional(v.boolean()),
  takesEmptySegments: v.optional(v.boolean()),
  takesTrailingSlash: v.optional(v.boolean()),
  takesBackslashes: v.optional(v.boolean()),
  takesControlCharacters: v.optional(v.boolean()),
  takesNestedKeys: v.optional(v.boolean()),
  discardsTruncated: v.optional(v.boolean()),
  namesGoneUploads: v.optional(v.boolean()),
  maxParts: v.optional(count),
  metadataBytes: v.optional(count),
  maxKeyBytes: v.optional(count),
  maxSegmentBytes: v.optional(count),
});

const price = v.pipe(
  v.number(),
  v.minValue(0, (issue) => `${issue.input} is below 0`),
  v.maxValue(1_000_000, (issue) => `${issue.input} is above 1000000`),
);
const requestClass = v.picklist(['A', 'B', 'free'], (issue) => `${issue.received} must be "A", "B" or "free"`);
/** What a period allows; 0 = no limit. */
const allowance = v.strictObject({
  requests: v.optional(amount, 0),
  classA: v.optional(amount, 0),
  classB: v.optional(amount, 0),
  egressBytes: v.optional(amount, 0),
  ingressBytes: v.optional(amount, 0),
  usd: v.optional(price, 0),
});
const timeZone = v.pipe(
  v.string(),
  v.check(isTimeZone, (issue) => `"${issue.input}" is not the IANA name of a time zone, like "America/Los_Angeles"`),
);

/** What is written must be readable at once: it is verified, scrubbed, and copied from. */
const storageClass = v.pipe(
  v.string(),
  v.regex(/^[A-Z][A-Z0-9_]{0,39}$/, (issue) => `"${issue.input}" is not a storage class, like "STANDARD_IA"`),
  v.check(
    (value) => value !== 'GLACIER' && value !== 'DEEP_ARCHIVE',
    (issue) => `"${issue.input}" is an archive: what is there cannot be read when it is needed`,
  ),
);

const backend = v.strictObject({
  name,
  endpoint: v.optional(endpoint),
  region: v.optional(text('region'), 'us-east-1'),
  bucket: v.pipe(
    v.string(),
    v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/, (issue) => `"${issue.input}" is not a bucket name`),
  ),
  prefix: v.optional(
    v.pipe(
      unicode,
      v.check(
        (value) => value === '' || value.endsWith('/'),
        (issue) => `"${issue.input}" must be empty or end in "/"`,
      ),
      v.check((value) => Buffer.byteLength(value) <= 256, 'is longer than 256 bytes'),
    ),
    '',
  ),
  pathStyle: v.optional(v.boolean(), false),
  credentials,
  deleteCredentials: v.optional(credentials),
  capabilities: v.optional(capabilities),
  storageClass: v.exactOptional(storageClass),
  labels: v.exactOptional(v.record(name, labelValue)),
  quotaBytes: v.optional(amount, 0),
  maxObjectBytes: v.optional(amount, 0),
  maxBytesPerSecond: v.optional(amount, 0),
  maxRequestsPerSecond: v.optional(amount, 0),
  events: v.optional(v.boolean(), false),
  egressUsdPerGb: v.optional(price, 0),
  usdPerMillionA: v.optional(price, 0),
  usdPerMillionB: v.optional(price, 0),
  /** What kinds of requests are billed as. */
  requestClasses: v.optional(
    v.strictObject({
      put: v.optional(requestClass, 'A'),
      copy: v.optional(requestClass, 'A'),
      list: v.optional(requestClass, 'A'),
      get: v.optional(requestClass, 'B'),
      head: v.optional(requestClass, 'B'),
      delete: v.optional(requestClass, 'free'),
    }),
    {},
  ),
  /** Of a month. */
  limits: v.optional(allowance, {}),
  dailyLimits: v.optional(allowance, {}),
  /** When the provider begins to count anew. */
  limitsReset: v.optional(
    v.strictObject({
      hour: v.optional(
        v.pipe(
          v.number(),
          v.integer((issue) => `${issue.input} is not a whole number`),
          v.minValue(0, (issue) => `${issue.input} is below 0`),
          v.maxValue(23, (issue) => `${issue.input} is above 23`),
        ),
        0,
      ),
      zone: v.optional(timeZone, 'UTC'),
    }),
    {},
  ),
});

const policy = v.strictObject({
  prefix: v.optional(unicode),
  factor: v.pipe(
    v.number(),
    v.integer((issue) => `${issue.input} is not a whole number`),
    v.minValue(1, (issue) => `${issue.input} is below 1`),
    v.maxValue(16, (issue) => `${issue.input} is above 16`),
  ),
  encrypt: v.optional(v.boolean(), false),
  /** How long the bytes of what is deleted or overwritten wait, so that they can be brought back; absent: no longer than any. */
  deleteGraceHours: v.exactOptional(
    v.pipe(
      v.number(),
      v.minValue(0, (issue) => `${issue.input} is below 0`),
      v.maxValue(8_760, (issue) => `${issue.input} is above 8760 (a year)`),
    ),
  ),
  /** How many backends must hold what is put before a put resolves; absent: one. */
  putCopies: v.exactOptional(count),
  /** Backends that may hold what counts; absent: all. */
  backends: v.exactOptional(v.pipe(v.array(v.string()), v.minLength(1, 'names no backend'))),
  /** Backends that may not. */
  excludeBackends: v.exactOptional(v.array(v.string())),
  /** A label: of the copies that an object needs, no two stand where its value is the same, while there is another place. */
  spreadOver: v.exactOptional(name),
});

/** An alias can come to name another key behind our back, and ciphertext names keys by their own ARN. */
const kmsKeyArn = v.pipe(
  text('kmsKeyArn'),
  v.check(
    (value) => !/(^|:)alias\//.test(value),
    (issue) => `"${issue.input}" is an alias; it must be the ARN of a key`,
  ),
);
const key = v.union(
  [v.strictObject({ kmsKeyArn }), v.strictObject({ rawKeyEnv: envName })],
  'must be {"kmsKeyArn"} or {"rawKeyEnv"}',
);

const encryption = v.pipe(
  v.strictObject({
    kmsKeyArn: v.exactOptional(kmsKeyArn),
    rawKeyEnv: v.exactOptional(envName),
    decryptOnly: v.exactOptional(v.array(key)),
  }),
  v.check(
    ({ kmsKeyArn: arn, rawKeyEnv }) => arn === undefined || rawKeyEnv === undefined,
    'has both "kmsKeyArn" and "rawKeyEnv"; one key encrypts, others belong into "decryptOnly"',
  ),
  v.check(
    (config) => keysOf(config).length > 0,
    'names no key: it must be {"kmsKeyArn"} or {"rawKeyEnv"}, with {"decryptOnly": [...]} for keys that only decrypt, or that alone',
  ),
  v.check((config) => new Set(keysOf(config).map(keyIdOf)).size === keysOf(config).length, 'names a key twice'),
);

const schema = v.strictObject({
  backends: v.pipe(v.array(backend), v.minLength(1, 'needs at least one backend')),
  policies: v.optional(v.record(name, policy), { default: { factor: 1 } }),
  routing: v.optional(
    v.picklist(['pack', 'spread'], (issue) => `"${issue.input}" must be "pack" or "spread"`),
    'pack',
  ),
  encryption: v.optional(encryption),
});

export type ParsedFleetFile = v.InferOutput<typeof schema>;
/** A fleet file as it is written: what has a default may be left out. */
export type FleetFileInput = v.InferInput<typeof schema>;

/** A fleet file as far as it can be read. */
export interface Inspected {
  readonly problems: readonly string[];
  /** Null when there is any problem. */
  readonly file: ParsedFleetFile | null;
  /** The backends and policies that have no problem of their own, for whoever has more to say about them. */
  readonly sound: Pick<ParsedFleetFile, 'backends' | 'policies' | 'encryption'>;
}

/** Finds every problem of a fleet file at once, also those between parts of it when other parts do not read. */
export function inspectFleetFile(input: unknown): Inspected {
  const result = v.safeParse(schema, input);
  const sound = result.success ? result.output : soundParts(input);
  const parts = (input ?? {}) as { backends?: unknown; policies?: unknown };
  const count = Array.isArray(parts.backends) ? parts.backends.length : 0;
  const hasDefault = parts.policies === undefined || 'default' in Object(parts.policies);
  const own = result.success ? [] : result.issues.map(describeIssue);
  const canEncrypt = encryptionOf(input, sound) !== 'missing';
  const problems = [...own, ...droppedNames(parts.policies), ...crossProblems(sound, count, hasDefault, canEncrypt)];
  return { problems, file: result.success && problems.length === 0 ? result.output : null, sound };
}

/** A policy under one of these names would be passed over in silence: `v.record` leaves them out. */
function droppedNames(policies: unknown): string[] {
  const dropped = ['__proto__', 'prototype', 'constructor'].filter((key) => Object.hasOwn(Object(policies), key));
  return dropped.map((key) => `policies: "${key}" cannot be a name`);
}

/**
 * Reads a fleet file from parsed JSON.
 * Throws a `ConfigError` that lists every problem, each with the path and the value.
 */
export function parseFleetFile(input: unknown): ParsedFleetFile {
  const { file, problems } = inspectFleetFile(input);
  if (file === null) throw new ConfigError('The fleet file has problems', problems);
  return file;
}

function soundParts(input: unknown): Inspected['sound'] {
  const { backends, policies, encryption: keys } = (input ?? {}) as Record<string, unknown>;
  const read = (whole: unknown, entry: v.GenericSchema) => v.safeParse(entry, whole);
  const known = v.safeParse(v.optional(encryption), keys);
  const sound = (Array.isArray(backends) ? backends : []).map((entry) => read(entry, backend)).filter((r) => r.success);
  const rules = Object.entries(Object(policies)).map(([key, entry]) => [key, read(entry, policy)] as const);
  return {
    backends: sound.map(({ output }) => output as ParsedFleetFile['backends'][number]),
    policies: Object.fromEntries(
      rules
        .filter(([, r]) => r.success)
        .map(([key, { output }]) => [key, output as ParsedFleetFile['policies'][string]]),
    ),
    encryption: known.success ? known.output : undefined,
  };
}

/** Of keys that do not read nobody knows whether one of them encrypts. */
function encryptionOf(input: unknown, sound: Inspected['sound']): 'there' | 'missing' | 'unknown' {
  if (sound.encryption !== undefined) return encryptingKeyOf(sound.encryption) === undefined ? 'missing' : 'there';
  return Object(input).encryption === undefined ? 'missing' : 'unknown';
}

/** Reads a fleet file from its text. Throws a `ConfigError` for text that is not JSON, too. */
export function parseFleetText(textOfFile: string): ParsedFleetFile {
  let parsed: unknown;
  try {
    parsed = JSON.parse(textOfFile);
  } catch (error) {
    throw new ConfigError('The fleet file has problems', [`it is not JSON (${(error as Error).message})`]);
  }
  return parseFleetFile(parsed);
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? 'the file';
  if (issue.type === 'strict_object' && issue.expected === 'never') return `${path} is not a known field`;
  if (issue.type === 'strict_object' && issue.input === undefined) return `${path} is missing`;
  if (issue.kind === 'schema' && issue.message.startsWith('Invalid')) {
    const got = issue.input === undefined ? 'missing' : `${issue.received}`;
    return `${path} is ${got}; it must be ${issue.expected}`;
  }
  return `${path}: ${issue.message}`;
}

/** Problems between the parts of a file, of which `count` backends were given. */
function crossProblems(file: Inspected['sound'], count: number, hasDefault: boolean, canEncrypt: boolean): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const { name: backendName } of file.backends) {
    if (seen.has(backendName)) problems.push(`backends: the name "${backendName}" is used twice`);
    seen.add(backendName);
  }
  for (const [i, a] of file.backends.entries()) {
    for (const b of file.backends.slice(i + 1)) {
      if (overlaps(a, b)) {
        problems.push(
          `backends: "${a.name}" and "${b.name}" overlap: bucket "${a.bucket}" with prefixes "${a.prefix}" and "${b.prefix}" on the same endpoint`,
        );
      }
    }
  }
  if (!hasDefault) problems.push('policies: "default" is missing');
  const prefixes = new Map<string, string>();
  if (file.backends.length === count) problems.push(...placementProblems(file));
  for (const [policyName, { prefix, factor, encrypt }] of Object.entries(file.policies)) {
    if (policyName === 'default' && prefix !== undefined && prefix !== '')
      problems.push(`policies.default: it applies to every key, so prefix "${prefix}" is not allowed`);
    if (policyName !== 'default' && (prefix ?? '') === '') problems.push(`policies.${policyName}: prefix is missing`);
    if (factor > count)
      problems.push(`policies.${policyName}: factor ${factor} is above the number of backends (${count})`);
    if (encrypt && !canEncrypt)
      problems.push(`policies.${policyName}: encrypt needs "encryption" in the fleet file, with a key that encrypts`);
    const other = prefixes.get(prefix ?? '');
    if (other !== undefined)
      problems.push(`policies: "${other}" and "${policyName}" have the same prefix "${prefix ?? ''}"`);
    prefixes.set(prefix ?? '', policyName);
  }
  return problems;
}

/** Policies that name backends or labels that are not there, or too few backends for their factor. */
function placementProblems({ backends, policies }: Inspected['sound']): string[] {
  const known = backends.map(({ name: backendName }) => backendName);
  return Object.entries(policies).flatMap(([policyName, policy]) => {
    const { factor, putCopies = 1, backends: only = known, excludeBackends = [], spreadOver } = policy;
    const at = `policies.${policyName}`;
    const unknown = [...new Set([...only, ...excludeBackends])].filter((one) => !known.includes(one));
    const problems = unknown.map((one) => `${at}: "${one}" is not the name of a backend of this file`);
    const allowed = backends.filter(({ name: one }) => only.includes(one) && !excludeBackends.includes(one));
    if (unknown.length === 0 && allowed.length < factor && known.length >= factor)
      problems.push(`${at}: factor ${factor} is above the number of backends that it allows (${allowed.length})`);
    // The cleaner would take away again what is above the factor.
    if (putCopies > factor) problems.push(`${at}: putCopies ${putCopies} is above the factor (${factor})`);
    const bare = spreadOver === undefined ? [] : allowed.filter(({ labels }) => labels?.[spreadOver] === undefined);
    return [
      ...problems,
      ...bare.map((one) => `${at}: spreadOver "${spreadOver}" needs that label on backend "${one.name}"`),
    ];
  });
}

/** Those that were found to be some: to ask makes a formatter. */
const timeZones = new Set<string>();

function isTimeZone(zone: string): boolean {
  if (timeZones.has(zone)) return true;
  try {
    if (new Intl.DateTimeFormat('en-US', { timeZone: zone }).resolvedOptions().timeZone !== '') timeZones.add(zone);
  } catch {
    return false;
  }
  return timeZones.has(zone);
}
