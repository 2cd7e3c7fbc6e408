import { defineConfig } from 'vitest/config';

/** What the embedded server has alone, or with parts that are smaller than S3 takes, or with several credentials, is left out. */
const portable = ['checksums', 'conditions', 'keys', 'listing', 'metadata', 'objects', 'versions'];

/** `npm run test:real` runs these on each server in turn. A server that does not answer ends its own tests. */
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    maxWorkers: 1,
    projects: [
      { extends: true, test: { name: 'contract', include: ['test/real/*.real.ts'] } },
      {
        extends: true,
        // One bucket is emptied between files, and one answer waited for at a time.
        test: {
          name: 'conformance',
          include: portable.map((name) => `test/local/s3/${name}.test.ts`),
          testTimeout: 15_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
