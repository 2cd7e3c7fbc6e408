import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import type { BackendError } from '../../lib/fleet/backend.ts';
import { adviceOn, type Place, type Refused } from '../../lib/fleet/s3/advice.ts';
import type { S3BackendOptions } from '../../lib/fleet/s3-backend.ts';
import { createCredentialResolver } from '../../lib/process/credentials.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { bucket, keys, type S3Kit, startS3 } from './s3-kit.ts';

let kit: S3Kit;
/** Answers as a server that expects TLS does where it is asked without. */
let tlsOnly: Server;
let tlsEndpoint: string;
beforeAll(async () => {
  kit = await startS3();
  tlsOnly = createServer((_, answer) => answer.writeHead(400).end('Client sent an HTTP request to an HTTPS server.\n'));
  tlsEndpoint = await listenOnLoopback(tlsOnly);
});
afterAll(async () => {
  tlsOnly.close();
  await kit.close();
});

async function sentence(options: Partial<S3BackendOptions>, how: 'get' | 'head' = 'get'): Promise<string> {
  const backend = kit.connect({ attempts: 1, ...options });
  const error = await backend[how]('.holdfast/owner').then(
    () => new Error('it went well'),
    (thrown: BackendError) => thrown,
  );
  expect(error.message).not.toContain('Unknown');
  return error.message;
}

test('a wrong secret names the access key that it should belong to, and the region', async () => {
  const message = await sentence({ credentials: { ...keys, secretAccessKey: 'wrong' } });
  expect(message).toMatch(
    /check the secret key that belongs to access key "AKIATEST".* `region`, which is "us-east-1"/,
  );
});

test('an access key that nobody knows is named', async () => {
  const message = await sentence({ credentials: { ...keys, accessKeyId: 'AKIANOBODY' } });
  expect(message).toContain('check `credentials`: access key "AKIANOBODY" is not known there');
});

test('a HEAD that is refused says that it was given no reason, and who shows it', async () => {
  const message = await sentence({ credentials: { ...keys, secretAccessKey: 'wrong' } }, 'head');
  expect(message).toContain('the backend answered 403 without a reason; check keys, `region` and the clock');
  expect(message).toContain('`holdfast doctor` shows the reason');
});

test('a bucket that is not there is named, with where it was looked for', async () => {
  const message = await sentence({ bucket: 'nobody-s' });
  expect(message).toContain(
    `check \`bucket\`, which is "nobody-s", and \`endpoint\`, which is "${kit.server.endpoint}"`,
  );
});

test('https where http is spoken, and http where https is, name the endpoint', async () => {
  const https = kit.server.endpoint.replace('http:', 'https:');
  expect(await sentence({ endpoint: https })).toContain(
    `there is no TLS there: check whether \`endpoint\`, which is "${https}"`,
  );
  expect(await sentence({ endpoint: tlsEndpoint })).toContain(
    `it expects https: check \`endpoint\`, which is "${tlsEndpoint}"`,
  );
});

test('an address at which nothing listens, and a host that is not there, name the endpoint', async () => {
  expect(await sentence({ endpoint: 'http://127.0.0.1:1' })).toContain('nothing listens there: check `endpoint`');
  const message = await sentence({ endpoint: 'http://nobody.invalid', pathStyle: false });
  expect(message).toMatch(
    /check `endpoint`, which is "http:..nobody.invalid"; or try `"pathStyle": true`|cannot be looked up/,
  );
});

test('a role where there is none says where it was looked for', async () => {
  const deps = { env: {}, clock: systemClock, readSecret: async () => '' };
  const credentials = await createCredentialResolver(deps).resolve({ name: 'cold-1', region: 'us-east-1' }, 'role');
  if (typeof credentials !== 'function') throw new Error('a role is asked each time');
  const without = {
    AWS_ACCESS_KEY_ID: '',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/none',
    AWS_SHARED_CREDENTIALS_FILE: '/none',
  };
  const before = { ...process.env };
  Object.assign(process.env, without);
  const message = await sentence({ credentials });
  for (const name of Object.keys(without)) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  expect(message).toMatch(
    /no credentials for "cold-1" \("credentials": "role" looks in AWS_ACCESS_KEY_ID.*found none\)/,
  );
});

const place: Place = { region: 'us-east-1', bucket, pathStyle: false };
const refused = (seen: Partial<Refused>): Refused => ({
  name: 'Unknown',
  code: undefined,
  message: '',
  status: 400,
  headers: {},
  accessKeyId: undefined,
  body: undefined,
  ...seen,
});

test.each([
  [
    { name: 'PermanentRedirect', status: 301, headers: { 'x-amz-bucket-region': 'eu-west-1' } },
    /which is "us-east-1".*the bucket is in "eu-west-1"/,
  ],
  [{ status: 301, headers: { 'x-amz-bucket-region': 'eu-west-1' } }, /the bucket is in "eu-west-1"/],
  [
    { name: 'AuthorizationHeaderMalformed', message: "the region 'us-east-1' is wrong; expecting 'eu-west-1'" },
    /the bucket is in "eu-west-1"/,
  ],
  [
    { name: 'RequestTimeTooSkewed', status: 403, headers: { date: 'Fri, 01 Jan 2027 00:00:00 GMT' } },
    /set the clock of this machine: there it is Fri, 01 Jan/,
  ],
  [{ name: 'ExpiredToken' }, /temporary credentials that have expired/],
  [{ name: 'AccessDenied', status: 403 }, /check what its keys may do/],
  [{ name: 'AllAccessDisabled', status: 403 }, /closed or limited the account/],
  [{ name: 'QuotaExceeded', status: 403 }, /make room there.*`quotaBytes`/],
  [
    { status: undefined, code: 'EHOSTUNREACH' },
    /check the network between here and `endpoint`, which is that of AWS in/,
  ],
  [{ status: undefined, code: 'ETIMEDOUT' }, /check the network/],
  [{ status: undefined, code: 'CERT_HAS_EXPIRED' }, /or the clock of this machine is wrong/],
  [{ status: undefined, code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }, /NODE_EXTRA_CA_CERTS/],
  [{ status: undefined, code: 'ERR_TLS_CERT_ALTNAME_INVALID' }, /try `"pathStyle": true`/],
] as const)('%j says what to look at', (seen, advice) => {
  expect(adviceOn(refused(seen as Partial<Refused>), place)).toMatch(advice);
});

test('what a person can do nothing about is said without advice', () => {
  for (const name of ['InternalError', 'NoSuchKey', 'SlowDown', 'constructor'])
    expect(adviceOn(refused({ name, status: 500 }), place)).toBeUndefined();
});
