import { configDefaults, defineConfig } from 'vitest/config';

/** These leave behind what others would find in their process: each has one of its own. */
const apart = ['test/infra/handlers.test.ts', 'test/simulation/simulation.test.ts'];

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
      // Node runs the code as it stands, as it does everywhere else: nothing is transformed.
      experimental: { viteModuleRunner: false, nodeLoader: false },
      projects: [
        { extends: true, test: { name: 'apart', include: apart, exclude } },
        // A process imports the code once for all its files, one after the other: that is half of what most files cost. What a
        // file changes of its process, its environment or its folder, it puts back.
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
