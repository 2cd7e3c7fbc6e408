import { hash } from 'node:crypto';
import { S3Client } from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pathOfKey } from '../../lib/fleet/s3/address.ts';
import { createSigner, emptySha256, percentEncoded, type Signable, unsignedBody } from '../../lib/fleet/s3/sign.ts';

const keys = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
const scope = { region: 'us-east-1', service: 's3' };

function authorization(request: Signable, at: number, who = keys, where = scope): string {
  return new Map(createSigner(where).sign(request, who, at)).get('authorization')!;
}

/** Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, all four examples. */
describe('AWS\u2019s own examples', () => {
  const host = ['host', 'examplebucket.s3.amazonaws.com'] as const;
  const get = { method: 'GET', query: '', headers: [host], bodySha256: emptySha256 };
  test.each([
    [
      'GET Object',
      { ...get, path: '/test.txt', headers: [host, ['range', 'bytes=0-9']] },
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    ],
    [
      'PUT Object',
      {
        method: 'PUT',
        path: pathOfKey('/test$file.text'),
        query: '',
        headers: [['date', 'Fri, 24 May 2013 00:00:00 GMT'], host, ['x-amz-storage-class', 'REDUCED_REDUNDANCY']],
        bodySha256: hash('sha256', 'Welcome to Amazon S3.'),
      },
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    ],
    [
      'GET Bucket Lifecycle',
      { ...get, path: '/', query: 'lifecycle=' },
      'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
    ],
    [
      'GET Bucket (List Objects)',
      { ...get, path: '/', query: 'max-keys=2&prefix=J' },
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    ],
  ] as [string, Signable, string][])('%s is signed as published', (_name, request, signature) => {
    expect(authorization(request, Date.UTC(2013, 4, 24))).toContain(`Signature=${signature}`);
  });
});

const { sha256 } = new S3Client({ region: 'us-east-1' }).config;

/** The SDK's own signer, as its client has it. */
async function signedBySdk(request: SdkRequest, credentials: typeof keys, region: string, at: Date): Promise<string> {
  const signer = new SignatureV4({ service: 's3', region, credentials, sha256, uriEscapePath: false });
  const signed = await signer.sign({ ...request, hostname: 'h', protocol: 'http:' }, { signingDate: at });
  return signed.headers.authorization!;
}

interface SdkRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Record<string, string>;
  readonly headers: Record<string, string>;
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((value) => value.isWellFormed());
const headerText = text.map((value) => value.replace(/\p{Cc}/gu, ' '));
const requests = fc.record({
  method: fc.constantFrom('GET', 'PUT', 'HEAD'),
  key: text,
  query: fc.dictionary(fc.constantFrom('partNumber', 'uploadId', 'versionId'), text),
  headers: fc.dictionary(
    fc.constantFrom('host', 'range', 'if-match', 'content-type', 'content-length', 'x-amz-meta-a', 'x-amz-meta-b-c'),
    headerText,
  ),
  bodySha256: fc.constantFrom(emptySha256, unsignedBody),
  sessionToken: fc.option(fc.base64String({ minLength: 4 }), { nil: undefined }),
  at: fc.date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }),
  region: fc.constantFrom('us-east-1', 'auto', 'eu-central-003'),
});

test('whatever is asked is signed as the SDK would sign it', async () => {
  await fc.assert(
    fc.asyncProperty(requests, async ({ key, sessionToken, at, region, query, headers, method, bodySha256 }) => {
      const path = `/${pathOfKey(key)}`;
      const credentials = { ...keys, ...(sessionToken !== undefined && { sessionToken }) };
      const all = { ...headers, 'x-amz-content-sha256': bodySha256 };
      const expected = await signedBySdk({ method, path, query, headers: all }, credentials, region, at);
      const names = Object.keys(query).sort();
      const ours = {
        method,
        path,
        query: names.map((name) => `${name}=${percentEncoded(query[name]!)}`).join('&'),
        headers: Object.entries(headers),
        bodySha256,
      };
      expect(authorization(ours, at.getTime(), credentials, { region, service: 's3' })).toBe(expected);
    }),
    { numRuns: 300 },
  );
});

test('a key is derived anew for another day and another secret', () => {
  const signer = createSigner(scope);
  const request = { method: 'GET', path: '/k', query: '', headers: [], bodySha256: emptySha256 };
  const of = (at: number, secretAccessKey: string) =>
    signer.sign(request, { accessKeyId: 'A', secretAccessKey }, at).at(-1)![1];
  const fresh = (at: number, secretAccessKey: string) =>
    createSigner(scope).sign(request, { accessKeyId: 'A', secretAccessKey }, at).at(-1)![1];
  const [day, next] = [Date.UTC(2026, 1, 1, 23, 59), Date.UTC(2026, 1, 2)];
  for (const [at, secret] of [
    [day, 'x'],
    [next, 'x'],
    [next, 'y'],
    [day, 'x'],
  ] as const)
    expect(of(at, secret)).toBe(fresh(at, secret));
});
