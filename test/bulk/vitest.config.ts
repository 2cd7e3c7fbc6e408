import { defineConfig } from 'vitest/config';

/** `npm run test:bulk`. */
export default defineConfig({
  test: { include: ['test/bulk/**/*.bulk.ts'], testTimeout: 1_200_000, hookTimeout: 120_000, pool: 'forks' },
});
