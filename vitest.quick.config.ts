import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import whole from './vitest.config.ts';

/** What `npm test` leaves to `npm run test:all`: it takes long, and one of its kind remains. */
const slow = [
  // The embedded DynamoDB passes the same suite.
  'test/contracts/store.dynamodb-local.test.ts',
  // The template is tested without the CDK's command line, and the code without bundles of it.
  'test/infra/synth.test.ts',
  'test/infra/bundle.test.ts',
  'test/package.test.ts',
  // Copies in parts are tested in memory, and one process is killed at work.
  'test/process/transfers.test.ts',
  // A machine is watched for minutes; what it consists of is tested by itself.
  'test/cli/run.whole.test.ts',
];

/** `npm test`. */
export default mergeConfig(
  whole,
  defineConfig({ test: { exclude: [...configDefaults.exclude, ...slow], env: { HOLDFAST_TEST_EXTENT: 'quick' } } }),
);
