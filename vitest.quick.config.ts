import { suite } from './vitest.config.ts';

/** What `npm test` leaves to `npm run test:all`: it takes long, and one of its kind remains. */
const slow = [
  // What one difference comes to is tested by itself, where it is found.
  'test/contracts/backend.quirks.test.ts',
  // The embedded DynamoDB passes the same suite.
  'test/contracts/store.dynamodb-local.test.ts',
  // The template is tested without the CDK's command line, and the code without bundles of it.
  'test/infra/synth.test.ts',
  'test/infra/bundle.test.ts',
  'test/package.test.ts',
  // Recovery is tested in memory.
  'test/cli/recover.whole.test.ts',
  // It compiles and tests a copy of the project.
  'test/docs/new-worker.test.ts',
  // Copies in parts are tested in memory, and one process is killed at work.
  'test/transfer/big-copy-s3.test.ts',
  'test/process/transfers.test.ts',
  // What a tick does is tested in memory, and one process is killed at work.
  'test/process/throttled.test.ts',
  'test/process/copies-within.test.ts',
  // Requests are counted in memory too.
  'test/fleet/meter.test.ts',
  // Its server and its figures are tested without a browser, and without the process that serves it.
  'test/cli/console.test.ts',
  'test/console/browser.test.ts',
  // A machine is watched for minutes; what it consists of is tested by itself.
  'test/cli/run.whole.test.ts',
  // Servers that others wrote are tried by hand, and by CI.
  'test/real/interrupt.test.ts',
  // An import is crashed at every write in memory.
  'test/process/import-kill.test.ts',
];

/** `npm test`. What CloudFormation would say of a template is asked of the whole suite's. */
export default suite(slow, { HOLDFAST_TEST_EXTENT: 'quick', CDK_VALIDATION: 'false' });
