import { expect, test } from 'vitest';
import { givenValues } from '../../infra/given.ts';
import { planDeployment } from '../../infra/validate.ts';
import { ConfigError } from '../../lib/config/problems.ts';
import { testFleet } from './support/template.ts';

function problemsOf(
  fleet: unknown,
  tuning: Record<string, string> = {},
  options: Record<string, string> = {},
): readonly string[] {
  try {
    planDeployment(typeof fleet === 'string' ? fleet : JSON.stringify(fleet), tuning, options);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

const secret = { secretArn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf' };
const elsewhere = (endpoint: string) => ({ name: 'one', endpoint, bucket: 'bucket', credentials: secret });

test('a fleet file with eight mistakes yields eight messages', () => {
  const fleet = {
    backends: [
      { name: 'Big', bucket: 'bucket-one', credentials: 'role' },
      { name: 'literal', bucket: 'bucket-two', credentials: { accessKeyId: 'id', secretAccessKey: 'key' } },
      { name: 'plain', endpoint: 'http://s3.example.com', bucket: 'bucket-x', credentials: secret },
      { name: 'local', endpoint: 'https://169.254.169.254', bucket: 'bucket-x', credentials: secret },
      { name: 'env', endpoint: 'https://s3.example.com', bucket: 'bucket-y', credentials: { env: 'B2' } },
      { name: 'whole', bucket: 'bucket-three', credentials: 'role' },
      { name: 'part', bucket: 'bucket-three', prefix: 'in/', credentials: 'role', quotaBytes: -1 },
      { name: 'part-two', bucket: 'bucket-three', prefix: 'out/', credentials: 'role' },
    ],
    policies: { default: { factor: 9 } },
  };
  const problems = problemsOf(fleet);
  expect(problems).toHaveLength(8);
  const about = [
    /"Big" is not a name/,
    /quotaBytes.*below 0/,
    /factor 9 is above.*\(8\)/,
    /"whole" and "part-two" overlap/,
  ];
  const also = [/"literal".*literal keys/, /"plain".*not https/, /"local".*link-local/, /"env".*environment/];
  for (const pattern of [...about, ...also])
    expect(problems.filter((problem) => pattern.test(problem))).toHaveLength(1);
});

test('mistakes of file, parameters and options are told together [mistakes-before-deployment]', () => {
  const fleet = { ...testFleet, policies: { default: { factor: 4 } } };
  const tuning = { SCRUBBER_PARTS: '17', REPLICATOR_SCHEDULE: 'every five minutes' };
  const options = { SCRUBBER_TIMEOUT_SECONDS: '901', HOLDFAST_LOG_RETENTION_DAYS: '31' };
  expect(problemsOf(fleet, tuning, options)).toEqual([
    'policies.default: factor 4 is above the number of backends (3)',
    expect.stringContaining('REPLICATOR_SCHEDULE'),
    expect.stringContaining('SCRUBBER_PARTS'),
    expect.stringContaining('CloudWatch Logs'),
    expect.stringContaining("from 10 to 900, Lambda's limit"),
  ]);
});

test.each([
  'https://10.1.2.3',
  'https://172.16.0.1:9000',
  'https://192.168.1.1',
  'https://127.0.0.1',
  'https://169.254.1.1',
  'https://100.64.0.1',
  'https://0.0.0.0',
  'https://2130706433',
  'https://[::1]',
  'https://[fe80::1]',
  'https://[fd00::1]',
  'https://[::ffff:10.0.0.1]',
  'https://localhost:9000',
  'https://minio',
  'https://nas.local',
  'https://s3.internal',
])('%s is private, unless that is allowed', (endpoint) => {
  const fleet = { backends: [elsewhere(endpoint)] };
  expect(problemsOf(fleet)).toEqual([expect.stringContaining('private or link-local')]);
  expect(problemsOf(fleet, {}, { HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: 'true' })).toEqual([]);
});

test.each(['https://s3.example.com', 'https://8.8.8.8', 'https://172.32.0.1', 'https://[2001:db8::1]'])(
  '%s is not private',
  (endpoint) => {
    expect(problemsOf({ backends: [elsewhere(endpoint)] })).toEqual([]);
  },
);

test('a role reaches buckets on AWS alone', () => {
  const fleet = { backends: [{ ...elsewhere('https://s3.example.com'), credentials: 'role' }] };
  expect(problemsOf(fleet)).toEqual([expect.stringContaining('"role" is for buckets on AWS')]);
  const onAws = { backends: [{ ...elsewhere('https://s3.eu-west-1.amazonaws.com'), credentials: 'role' }] };
  expect(problemsOf(onAws)).toEqual([]);
});

test('a schedule shorter than its timeout is refused', () => {
  expect(problemsOf(testFleet, { SCRUBBER_SCHEDULE: 'rate(10 minutes)' })).toEqual([
    'The scrubber runs at rate(10 minutes), which is shorter than its timeout of 900 s',
  ]);
  expect(problemsOf(testFleet, { SCRUBBER_SCHEDULE: 'rate(10 minutes)' }, { SCRUBBER_TIMEOUT_SECONDS: '600' })).toEqual(
    [],
  );
});

test('more parameters than fit into the environment of a function are refused', () => {
  const long = 'a'.repeat(255);
  const names = ['OBJECTS_TABLE', 'QUEUE_TABLE', 'CONTROL_TABLE'];
  const tables = Object.fromEntries(names.map((name, i) => [name, `${long.slice(1)}${i}`]));
  expect(problemsOf(testFleet, tables)).toEqual([]);
  const everything = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`PADDING_${i}`, long]));
  expect(problemsOf(testFleet, everything)).toEqual([expect.stringContaining('environment of a Lambda function')]);
});

test('three tables need three names', () => {
  expect(problemsOf(testFleet, { QUEUE_TABLE: 'holdfast-objects' })).toEqual([
    'The three tables need three names: holdfast-objects, holdfast-objects, holdfast-control',
  ]);
});

test('a text that is not JSON is one problem', () => {
  expect(problemsOf('{')).toEqual([expect.stringContaining('not JSON')]);
});

test('values come from context or environment; a contradiction and a misspelt name are problems', () => {
  const context = { SCRUBBER_PARTS: 4, HOLDFAST_FLEET: { backends: [] }, '@aws-cdk/core:x': true, 'aws:cdk:y': 1 };
  expect(givenValues(context, { REPLICATOR_BATCH_SIZE: '7', PATH: '/bin' })).toEqual({
    tuning: { SCRUBBER_PARTS: '4', REPLICATOR_BATCH_SIZE: '7' },
    deployment: { HOLDFAST_FLEET: '{"backends":[]}' },
  });
  expect(() => givenValues({ SCRUBER_PARTS: 4, SCRUBBER_PARTS: 4 }, { SCRUBBER_PARTS: '5' })).toThrow(
    /"4" in the context and "5" in the environment[\s\S]*"SCRUBER_PARTS"/,
  );
});
