import { expect, test } from 'vitest';
import { inDollars } from '../../lib/base/amounts.ts';

test.each([
  [0, '$0.00'],
  [0.009_99, '$0.0100'],
  [0.01, '$0.01'],
  [0.002_345, '$0.0023'],
  [0.000_000_123, '$0.00000012'],
  [1e-15, '$0.0000000000000010'],
  [12.5, '$12.50'],
])('%d dollars are read as %s: what is not nothing is told from nothing', (amount, text) => {
  expect(inDollars(amount)).toBe(text);
});
