import { expect, test } from 'vitest';
import { parameterProblem, parameters, parseParameters } from '../lib/config/parameters.ts';

test.each(Object.entries(parameters))('the default of %s is one of its values', (name, { default: value }) => {
  expect(parameterProblem(name, value)).toBeNull();
});

test('every bad value is reported at once, and an empty one means the default [bad-values-refused]', () => {
  const env = { REPLICATOR_BATCH_SIZE: '0.5', REMOVAL_LIMIT_RATIO: '2', LEDGER_STRIPES: '' };
  expect(() => parseParameters(env, { SCRUB_ATTEST: 'yes' })).toThrow(
    expect.objectContaining({
      problems: [
        expect.stringContaining('REPLICATOR_BATCH_SIZE is "0.5"'),
        expect.stringContaining('REMOVAL_LIMIT_RATIO is "2"'),
        expect.stringContaining('SCRUB_ATTEST is "yes"'),
      ],
    }),
  );
  expect(parseParameters({ LEDGER_STRIPES: '' })).toEqual(parseParameters({}));
});
