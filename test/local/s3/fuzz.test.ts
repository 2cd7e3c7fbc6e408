import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BUCKET, kitForFile, sendSigned } from './kit.ts';

const kit = kitForFile();

const QUERIES = [
  'uploadId',
  'partNumber',
  'uploads',
  'versionId',
  'versions',
  'versioning',
  'tagging',
  'attributes',
  'delete',
  'list-type',
  'max-keys',
  'prefix',
  'delimiter',
  'marker',
  'start-after',
  'continuation-token',
  'encoding-type',
  'key-marker',
  'version-id-marker',
  'max-parts',
  'part-number-marker',
  'upload-id-marker',
  'max-uploads',
  'response-content-type',
  'location',
];
const HEADERS = [
  'range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'x-amz-copy-source',
  'x-amz-copy-source-range',
  'x-amz-metadata-directive',
  'content-md5',
  'x-amz-checksum-sha256',
  'x-amz-checksum-type',
  'x-amz-checksum-algorithm',
  'x-amz-trailer',
  'x-amz-tagging',
  'x-amz-decoded-content-length',
  'x-amz-object-attributes',
  'x-amz-max-parts',
  'x-amz-mp-object-size',
  'x-amz-storage-class',
  'x-amz-acl',
];
const PAYLOADS = [
  'UNSIGNED-PAYLOAD',
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  undefined,
];
const value = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom(
    '',
    '0',
    '1',
    '2',
    '-1',
    '99999999999',
    '*',
    'null',
    `${BUCKET}/a`,
    'bytes=0-1',
    'REPLACE',
    'SHA256',
    'url',
    'true',
    'x-amz-checksum-crc32',
  ),
);

test('no request, however odd, is an internal error, and the server goes on', async () => {
  const property = fc.asyncProperty(
    fc.constantFrom('GET', 'HEAD', 'PUT', 'POST', 'DELETE'),
    fc.constantFrom('/', `/${BUCKET}`, `/${BUCKET}/a`, `/${BUCKET}/b%2F..%2F`, '/no-such-bucket/a'),
    fc.uniqueArray(fc.tuple(fc.constantFrom(...QUERIES), value), { maxLength: 3, selector: ([name]) => name }),
    fc.uniqueArray(fc.tuple(fc.constantFrom(...HEADERS), value), { maxLength: 3, selector: ([name]) => name }),
    fc.constantFrom(...PAYLOADS),
    fc.oneof(
      fc.string({ maxLength: 40 }),
      fc.constantFrom('0\r\n\r\n', '4\r\nabcd\r\n0\r\n\r\n', '<Delete><Object><Key>a</Key></Object></Delete>'),
    ),
    async (method, path, query, headers, payload, body) => {
      const search = query.map(([name, text]) => `${name}=${encodeURIComponent(text)}`).join('&');
      const plain = headers.map(([name, text]): [string, string] => [name, text.replace(/[^\x20-\x7e]/g, '').trim()]);
      const hasBody = method === 'PUT' || method === 'POST';
      const answer = await sendSigned(kit.server.endpoint, {
        method,
        path: search === '' ? path : `${path}?${search}`,
        headers: Object.fromEntries(plain),
        ...(payload && { payload }),
        ...(hasBody && { body }),
      });
      expect(answer.status).not.toBe(500);
    },
  );
  await fc.assert(property, { numRuns: 600, seed: 42 });
  expect((await sendSigned(kit.server.endpoint, { path: '/' })).status).toBe(200);
});
