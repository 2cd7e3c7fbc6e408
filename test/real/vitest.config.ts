import { defineConfig } from 'vitest/config';

/** `npm run test:real` runs this on each server in turn. A server that does not answer ends its own tests. */
export default defineConfig({
  test: { include: ['test/real/*.real.ts'], testTimeout: 60_000, hookTimeout: 120_000, maxWorkers: 1 },
});
