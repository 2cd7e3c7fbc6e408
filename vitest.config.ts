import { configDefaults, defineConfig } from 'vitest/config';

/**
 * These change what a whole process has, its environment or its folder, or test what it loads: each file has a process of its
 * own.
 */
const apart = ['test/*.test.ts', 'test/{cli,docs,infra,process,simulation}/**/*.test.ts'];

/** All tests but some. No test is measured by the clock on the wall: the limit only ends one that hangs. */
export function suite(leftOut: readonly string[], env: Record<string, string>) {
  const exclude = [...configDefaults.exclude, ...leftOut];
  return defineConfig({
    test: {
      env,
      testTimeout: 900_000,
      hookTimeout: 900_000,
      expect: { poll: { timeout: 900_000 } },
      // Of two cores: what waits for an answer or for a time limit leaves its core to others.
      maxWorkers: 3,
      projects: [
        { extends: true, test: { name: 'apart', include: apart, exclude } },
        // A process imports the code once for all its files: that is half of what a file costs that works in memory.
        {
          extends: true,
          test: { name: 'together', include: ['test/**/*.test.ts'], exclude: [...exclude, ...apart], isolate: false },
        },
      ],
    },
  });
}

/** The whole suite: `vitest run`, and `npm run test:all`. */
export default suite([], {});
