import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parameterProblem, parameters, parseParameters } from '../../lib/config/parameters.ts';
import { ConfigError } from '../../lib/config/problems.ts';

const names = Object.keys(parameters);
const anyText = fc.string({ unit: 'binary', maxLength: 12 });

/** Good values, by what the table of parameters says of each: the whole range, edges more often. */
function goodValue(name: string): fc.Arbitrary<string> {
  const { kind, min = 0, max = 365 * 24 * 3600, oneOf } = parameters[name]!;
  if (kind === 'flag') return fc.constantFrom('true', 'false');
  if (kind === 'table') return fc.stringMatching(/^[A-Za-z0-9_.-]{3,40}$/);
  if (kind === 'ratio') return fc.integer({ min: 0, max: 1000 }).map((n) => String(n / 1000));
  if (kind === 'text' && oneOf !== undefined) return fc.constantFrom(...oneOf);
  if (kind === 'text') return fc.constantFrom('rate(1 minute)', 'rate(90 days)', 'cron(0 12 * * ? *)');
  return fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max)).map(String);
}

/** Bad ones: beyond the range on either side, and what is no number, flag or table at all. */
function badValue(name: string): fc.Arbitrary<string> {
  const { kind, min = 0, max = 365 * 24 * 3600 } = parameters[name]!;
  const odd = fc.constantFrom(' ', 'x', 'TRUE', '1e3', '0x10', '-1', 'NaN', 'Infinity', '1.5', 'rate(0 days)', 'ro');
  if (kind === 'flag' || kind === 'text') return odd;
  if (kind === 'table') return fc.constantFrom('ab', 'a b', 'tab\u00e9', 'x'.repeat(256));
  if (kind === 'ratio') return fc.constantFrom('1.001', '-0.1', '2', 'x', '.5', '1e-3');
  return fc.oneof(odd, fc.constantFrom(String(min - 1), String(max + 1), '9'.repeat(400)));
}

const entriesOf = (value: (name: string) => fc.Arbitrary<string>) =>
  fc.subarray(names).chain((some) => fc.tuple(...some.map((name) => fc.tuple(fc.constant(name), value(name)))));

test('any value that a parameter allows is taken, whoever sets it, and live overrides go first', () => {
  fc.assert(
    fc.property(entriesOf(goodValue), entriesOf(goodValue), (env, overrides) => {
      const wanted = { ...Object.fromEntries(env), ...Object.fromEntries(overrides) };
      const given = (name: string) => wanted[name] ?? parameters[name]!.default;
      const read = parseParameters({ ...Object.fromEntries(env), PATH: '/bin' }, Object.fromEntries(overrides));
      expect(read.tables.objects).toBe(given('OBJECTS_TABLE'));
      expect(read.graceMs).toBe(1000 * Number(given('CLEANUP_QUEUE_GRACE_SECONDS')));
      expect(read.workers['cleanup-queue'].batchSize).toBe(Number(given('CLEANUP_QUEUE_BATCH_SIZE')));
      expect(read.workers.rebalancer.enabled).toBe(given('REBALANCER_ENABLED') === 'true');
      expect(read.rebalancerThreshold).toBe(Number(given('REBALANCER_THRESHOLD')));
      expect(Object.isFrozen(read)).toBe(true);
    }),
  );
});

test('every bad value is reported at once, with its name, and nothing else is [bad-values-refused]', () => {
  fc.assert(
    fc.property(entriesOf(badValue), (bad) => {
      fc.pre(bad.length > 0);
      expect(problemsOf(Object.fromEntries(bad))).toEqual(
        expect.arrayContaining(bad.map(([name, value]) => expect.stringContaining(`${name} is "${value}"`))),
      );
      expect(problemsOf(Object.fromEntries(bad))).toHaveLength(bad.length);
    }),
  );
});

test('whatever an environment holds, it is read or refused with its problems', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...names), anyText), (env) => {
      const bad = Object.entries(env).filter(([name, value]) => value !== '' && parameterProblem(name, value) !== null);
      expect(problemsOf(env)).toHaveLength(bad.length);
    }),
  );
});

test('no name but those of the parameters can be set, not even one that every object has', () => {
  const inherited = fc.constantFrom('constructor', 'toString', '__proto__', 'hasOwnProperty');
  fc.assert(
    fc.property(fc.oneof(anyText, inherited), fc.nat().map(String), (name, value) => {
      fc.pre(!names.includes(name));
      expect(parameterProblem(name, value)).toBe(`"${name}" is not a parameter: \`holdfast settings\` lists them`);
    }),
  );
});

test('an inherited name is no parameter', () => {
  expect(parameterProblem('constructor', '5')).toBe('"constructor" is not a parameter: `holdfast settings` lists them');
});

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    parseParameters(env);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
}

test('what cannot change any more is read once, and what can is read anew each time', () => {
  const frozen = Object.freeze({ LEDGER_STRIPES: '3' });
  const set = Object.freeze({ LEDGER_STRIPES: '5' });
  expect(parseParameters(frozen)).toBe(parseParameters(frozen));
  expect(parseParameters(frozen, set)).toBe(parseParameters(frozen, set));
  expect([parseParameters(frozen).ledgerStripes, parseParameters(frozen, set).ledgerStripes]).toEqual([3, 5]);
  const open = { LEDGER_STRIPES: '3' };
  expect(parseParameters(open).ledgerStripes).toBe(3);
  open.LEDGER_STRIPES = '4';
  expect(parseParameters(open).ledgerStripes).toBe(4);
  const changed = { LEDGER_STRIPES: '6' };
  expect(parseParameters(frozen, changed).ledgerStripes).toBe(6);
  changed.LEDGER_STRIPES = '7';
  expect(parseParameters(frozen, changed).ledgerStripes).toBe(7);
});
