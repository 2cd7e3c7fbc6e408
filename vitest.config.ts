import { defineConfig } from 'vitest/config';

/**
 * The whole suite: `vitest run`, and `npm run test:all`. No test is measured by the clock on the wall: the limit only ends
 * one that hangs.
 */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 900_000,
    hookTimeout: 900_000,
    expect: { poll: { timeout: 900_000 } },
    maxWorkers: 2,
  },
});
