import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parseArguments, targetsIn } from './arguments.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-arguments-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const keys = { accessKeyId: 'A', secretAccessKey: 'B' };
const backend = { name: 'mine', bucket: 'bucket', credentials: keys };

function targets(backends: unknown, { isOwn = false, env = {} } = {}) {
  const path = join(dir, 'endpoints.json');
  writeFileSync(path, JSON.stringify(backends));
  return targetsIn(path, isOwn, 'RUN', env);
}

test.each([
  'http://localhost:9000',
  'http://127.0.0.1:9000',
  'http://127.8.9.10:9000',
  'http://[::1]:9000',
  // A URL writes it as 127.0.0.1.
  'http://2130706433:9000',
])('%s is this machine: it is tried without further leave', (endpoint) => {
  expect(targets([{ ...backend, endpoint, prefix: 'sub/', pathStyle: true }])).toEqual([
    { ...backend, endpoint, region: 'us-east-1', prefix: 'sub/holdfast-real-RUN/', pathStyle: true },
  ]);
});

test.each([
  'https://s3.example.com',
  'http://10.0.0.1:9000',
  'http://192.168.1.5',
  'http://127.0.0.1.example.com',
  'http://localhost.example.com',
  'http://0.0.0.0:9000',
  undefined,
])('%s is not this machine: it is refused until its owner says so', (endpoint) => {
  const given = [{ ...backend, ...(endpoint !== undefined && { endpoint }) }];
  expect(() => targets(given)).toThrow(
    `"mine" at ${endpoint ?? 'AWS'} is not on this machine: say --yes-i-own-this if it is yours to try`,
  );
  expect(targets(given, { isOwn: true })).toHaveLength(1);
});

test('keys are read from the environment, and a missing one is named', () => {
  const given = [{ ...backend, endpoint: 'http://localhost:1', credentials: { env: 'MINE' } }];
  expect(() => targets(given)).toThrow('"mine": MINE_ACCESS_KEY_ID is not set');
  const env = { MINE_ACCESS_KEY_ID: 'A', MINE_SECRET_ACCESS_KEY: 'B' };
  expect(targets(given, { env })[0]!.credentials).toEqual(keys);
  expect(() => targets([{ ...given[0], credentials: 'role' }])).toThrow('its credentials must be {"env"} or');
});

test('a file that is no list of backends is refused with every problem', () => {
  expect(() => targets([{ name: 'Not A Name', endpoint: 'ftp://x', bucket: '' }])).toThrow('is not a name');
  for (const given of [{}, [], 'x', { backends: [] }])
    expect(() => targets(given)).toThrow('endpoints.json must be an array of backends, as a fleet file has it');
  expect(() => targetsIn(dir, false, 'RUN', {})).toThrow(`${dir} cannot be read: EISDIR`);
});

test('a command line that cannot be meant is refused', () => {
  expect(parseArguments(['minio', '--cached', '--again', '--minutes', '5'])).toEqual({
    names: ['minio'],
    isCachedOnly: true,
    isRecorded: false,
    triesAgain: true,
    onlyTogether: false,
    isOwn: false,
    minutes: 5,
  });
  expect(() => parseArguments(['no-such'])).toThrow('There is no server "no-such" here');
  expect(() => parseArguments(['--endpoints'])).toThrow('--endpoints needs the path of a file');
  expect(() => parseArguments(['minio', '--endpoints', 'x.json'])).toThrow('give no names and no --record');
});
