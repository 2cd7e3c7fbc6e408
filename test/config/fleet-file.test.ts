import fc from 'fast-check';
import { expect, test } from 'vitest';
import { defined } from '../../lib/base/defined.ts';
import { inspectFleetFile, parseFleetFile, parseFleetText } from '../../lib/config/parse-fleet-file.ts';
import { ConfigError } from '../../lib/config/problems.ts';
import { throughDynamo } from '../support/documents.ts';

/** Two names of this form are taken by JavaScript. */
const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,30}$/).filter((n) => n !== 'constructor' && n !== 'prototype');
const amount = fc.oneof(fc.nat(), fc.maxSafeNat());
const prefix = fc.string({ unit: 'binary', maxLength: 20 }).map((text) => `${text}/`);
const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 8 });
const variable = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/);
const credentials = fc.oneof(
  fc.constant('role'),
  fc.record({ secretArn: text }),
  fc.record({ env: variable }),
  fc.record({ accessKeyId: text, secretAccessKey: text }),
);

const backendRest = fc.record(
  {
    endpoint: fc.constantFrom('https://s3.example.com', 'http://127.0.0.1:9000/', 'https://[::1]:9000'),
    region: text,
    prefix: fc.oneof(fc.constant(''), prefix),
    pathStyle: fc.boolean(),
    credentials,
    deleteCredentials: credentials,
    quotaBytes: amount,
    maxObjectBytes: amount,
    maxBytesPerSecond: amount,
    maxRequestsPerSecond: amount,
    egressUsdPerGb: fc.oneof(fc.constant(0), fc.double({ min: 0.0001, max: 1000, noNaN: true })),
    limits: fc.record({ requests: amount, egressBytes: amount, ingressBytes: amount }, { requiredKeys: [] }),
  },
  { requiredKeys: ['credentials'] },
);

const key = fc.oneof(
  fc.record({ kmsKeyArn: text.filter((t) => !t.includes('alias/')) }),
  fc.record({ rawKeyEnv: variable }),
);
const nameOf = (one: object) => JSON.stringify(one);
/** A key that encrypts, others that only decrypt, or these alone. */
const encryption = fc
  .tuple(fc.uniqueArray(key, { minLength: 1, maxLength: 3, selector: nameOf }), fc.boolean())
  .map(([[first, ...decryptOnly], encrypts]) =>
    encrypts ? { ...first, ...(decryptOnly.length > 0 && { decryptOnly }) } : { decryptOnly: [first!, ...decryptOnly] },
  );

const canEncrypt = (config: object | undefined) => ['kmsKeyArn', 'rawKeyEnv'].some((name) => name in Object(config));

/** Any file within the rules: each backend in a bucket of its own, each policy with a prefix of its own. */
const files = fc
  .record({
    names: fc.uniqueArray(name, { minLength: 1, maxLength: 5 }),
    rest: fc.array(backendRest, { minLength: 5, maxLength: 5 }),
    others: fc.uniqueArray(fc.tuple(name, fc.string({ minLength: 1, maxLength: 6 }), fc.boolean()), {
      maxLength: 4,
      comparator: (a, b) => a[0] === b[0] || a[1] === b[1],
    }),
    factor: fc.nat(),
    routing: fc.constantFrom('pack', 'spread'),
    encryption: fc.option(encryption, { nil: undefined }),
  })
  .map(({ names, rest, others, factor, routing, encryption }) => ({
    backends: names.map((n, i) => ({ name: n, bucket: `bucket-${i}`, ...rest[i]! })),
    policies: {
      default: { factor: 1 + (factor % names.length) },
      ...Object.fromEntries(
        others
          .filter(([other]) => other !== 'default')
          .map(([other, prefix, encrypt]) => [
            other,
            { prefix, factor: 1, encrypt: encrypt && canEncrypt(encryption) },
          ]),
      ),
    },
    routing,
    ...defined({ encryption }),
  }));

test('a file within the rules is taken as it is, defaults aside, and reads the same once more', () => {
  fc.assert(
    fc.property(files, (file) => {
      const parsed = parseFleetFile(file);
      expect(parsed).toMatchObject(file);
      expect(Object.keys(parsed.policies).sort()).toEqual(Object.keys(file.policies).sort());
      expect(parseFleetFile(parsed)).toEqual(parsed);
      expect(parseFleetText(JSON.stringify(parsed))).toEqual(parsed);
    }),
  );
});

test('a file that was accepted comes back from the table as it went in', () => {
  fc.assert(
    fc.property(files, (file) => {
      const parsed = parseFleetFile(file);
      expect(throughDynamo({ data: parsed })).toEqual({ data: parsed });
    }),
  );
});

/** A place in a file and a value that is wrong there, as a problem shows it. */
interface Fault {
  readonly path: string;
  readonly value: unknown;
  readonly quoted: string;
}

const quoted = (path: string, value: fc.Arbitrary<string>) =>
  value.map((wrong): Fault => ({ path, value: wrong, quoted: `"${wrong}"` }));
const bare = (path: string, value: fc.Arbitrary<number>) =>
  value.map((wrong): Fault => ({ path, value: wrong, quoted: String(wrong) }));
const noAmount = fc.oneof(
  fc.integer({ max: -1 }),
  fc.double({ min: 0.1, max: 1e6, noInteger: true, noNaN: true }),
  fc.constantFrom(2 ** 53, 1e300, Number.POSITIVE_INFINITY),
);
const anyText = fc.string({ unit: 'binary', maxLength: 12 });

/** One for each field, in an order of no meaning. */
const faults: fc.Arbitrary<Fault>[] = [
  quoted(
    'backends.0.name',
    anyText.filter((t) => !/^[a-z0-9][a-z0-9-]*$/.test(t)),
  ),
  quoted(
    'backends.0.endpoint',
    fc.oneof(
      fc.constantFrom('', 's3.example.com', 'http://', 'ftp://x', 'https://x/path', 'https://x?y', 'https://u@x'),
      fc.constantFrom('https://x\\path', 'https://x\ty', 'https://x ', 'https://x\n', 'https://x:99999'),
    ),
  ),
  quoted(
    'backends.0.bucket',
    anyText.filter((t) => !/^[A-Za-z0-9][A-Za-z0-9._-]+$/.test(t)),
  ),
  quoted('backends.0.prefix', fc.constantFrom('a', 'a/b', '/x', '\ud800/', 'x\udc00/')),
  bare('backends.0.quotaBytes', noAmount),
  bare('backends.0.maxObjectBytes', noAmount),
  bare('backends.0.maxBytesPerSecond', noAmount),
  bare('backends.0.maxRequestsPerSecond', noAmount),
  bare(
    'backends.0.egressUsdPerGb',
    fc.oneof(fc.double({ max: -1e-9, noNaN: true }), fc.double({ min: 1_000_001, noNaN: true })),
  ),
  bare('backends.0.limits.requests', noAmount),
  bare('backends.0.limits.egressBytes', noAmount),
  bare('policies.default.factor', fc.oneof(fc.integer({ max: 0 }), fc.integer({ min: 17 }), fc.constant(1.5))),
  quoted(
    'routing',
    anyText.filter((t) => t !== 'pack' && t !== 'spread'),
  ),
  quoted(
    'encryption.rawKeyEnv',
    anyText.filter((t) => !/^[A-Za-z_]\w*$/.test(t)),
  ).map((fault) => ({ ...fault, path: 'encryption', value: { rawKeyEnv: fault.value }, quoted: 'rawKeyEnv' })),
];

test('every problem is reported at once, each with its place and its value', () => {
  const some = fc.subarray(faults, { minLength: 1 }).chain((chosen) => fc.tuple(...chosen));
  fc.assert(
    fc.property(files, some, (file, wrong) => {
      const broken = wrong.reduce<unknown>((whole, { path, value }) => placed(whole, path.split('.'), value), file);
      const { file: read, problems } = inspectFleetFile(broken);
      expect(read).toBeNull();
      const missed = wrong.filter(
        ({ path, quoted }) => !problems.some((p) => p.startsWith(path) && p.includes(quoted)),
      );
      expect(missed).toEqual([]);
    }),
  );
});

test('a field or a policy that the file cannot have is reported by its name, whatever that is', () => {
  const known = ['name', 'endpoint', 'region', 'bucket', 'prefix', 'pathStyle', 'credentials', 'deleteCredentials'];
  const names = fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString', 'hasOwnProperty'));
  const places = fc.constantFrom('', 'backends.0.', 'backends.0.limits.', 'policies.default.', 'policies.');
  fc.assert(
    fc.property(files, places, names, (file, place, odd) => {
      fc.pre(!known.includes(odd) && !/^[a-z]+$|Bytes|PerSecond|PerGb/.test(odd));
      const broken = placed(file, [...place.split('.').slice(0, -1), odd], place === 'policies.' ? { factor: 1 } : 1);
      expect(inspectFleetFile(broken).problems).toContainEqual(expect.stringContaining(odd));
    }),
  );
});

test.each([
  ['policies.prototype', { prefix: 'x/', factor: 1 }, 'policies: "prototype" cannot be a name'],
  ['policies.constructor', { prefix: 'x/', factor: 1 }, 'policies: "constructor" cannot be a name'],
  ['backends.0.endpoint', 'https://x\\path', 'backends.0.endpoint: "https://x\\path" is not an endpoint'],
  ['backends.0.egressUsdPerGb', Number.POSITIVE_INFINITY, 'backends.0.egressUsdPerGb: Infinity is above 1000000'],
  ['backends.0.prefix', '\ud800/', 'backends.0.prefix: "\ud800/" is not valid Unicode'],
])('the problem with %s is named', (path, value, problem) => {
  const file = {
    backends: [{ name: 'a', bucket: 'bucket', credentials: 'role' }],
    policies: { default: { factor: 1 } },
  };
  const { problems } = inspectFleetFile(placed(file, path.split('.'), value));
  expect(problems).toEqual([expect.stringContaining(problem)]);
});

test('whatever stands in a file, it is accepted or refused with its problems', () => {
  const leaves = fc.constantFrom(
    'backends',
    'backends.0',
    'backends.0.name',
    'backends.0.limits',
    'backends.0.credentials',
    'policies',
    'policies.default',
    'encryption',
  );
  fc.assert(
    fc.property(files, leaves, fc.jsonValue(), (file, place, value) => {
      expectReadOrRefused(JSON.stringify(placed(file, place.split('.'), value)));
      expectReadOrRefused(JSON.stringify(value));
    }),
  );
  fc.assert(fc.property(fc.string({ unit: 'binary' }), expectReadOrRefused));
});

function expectReadOrRefused(textOfFile: string): void {
  try {
    expect(parseFleetText(textOfFile).backends.length).toBeGreaterThan(0);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    const { problems, message } = error as ConfigError;
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) expect(message).toContain(problem);
  }
}

/** A copy of a JSON value in which another one stands at a place. */
function placed(whole: unknown, [step, ...rest]: readonly string[], value: unknown): unknown {
  if (step === undefined) return value;
  const inner = Object(whole) as Record<string, unknown>;
  const next = placed(Object.hasOwn(inner, step) ? inner[step] : {}, rest, value);
  if (Array.isArray(whole)) return whole.with(Number(step), next);
  return Object.fromEntries([...Object.entries(inner), [step, next]]);
}
