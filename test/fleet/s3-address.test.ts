import { S3Client } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { addressOf, ownEndpoint } from '../../lib/fleet/s3/address.ts';

const { endpointProvider } = new S3Client({ region: 'us-east-1' }).config;

/** Where the SDK's rules say that a bucket is. */
function bySdk(endpoint: string | undefined, region: string, bucket: string, pathStyle: boolean) {
  const rules = { Bucket: bucket, Region: region, ForcePathStyle: pathStyle, DisableS3ExpressSessionAuth: true };
  const { url, properties } = endpointProvider({ ...rules, ...(endpoint !== undefined && { Endpoint: endpoint }) }, {});
  const [scheme] = (properties?.authSchemes ?? []) as readonly { signingName?: string; signingRegion?: string }[];
  return {
    origin: url.origin,
    path: url.pathname.replace(/\/+$/, ''),
    region: scheme?.signingRegion,
    service: scheme?.signingName,
  };
}

const endpoints = fc.constantFrom(
  undefined,
  'https://s3.us-west-002.backblazeb2.com',
  'https://s3.dualstack.eu-west-1.amazonaws.com',
  'https://s3-fips.us-east-1.amazonaws.com',
  'http://127.0.0.1:9000',
  'http://[::1]:9000',
  'http://minio.internal:9000/base/',
  'https://ns.compat.objectstorage.eu-frankfurt-1.oraclecloud.com',
  'https://acct.r2.cloudflarestorage.com',
  'https://host.example:8443/a/b',
);
const regions = fc.constantFrom(
  'us-east-1',
  'eu-west-1',
  'ap-southeast-4',
  'us-gov-west-1',
  'cn-north-1',
  'il-central-1',
);
const buckets = fc.constantFrom(
  'plain-bucket',
  'with.dots',
  'with.dots-and-2',
  'Upper_Case',
  'under_score',
  '1.2.3.4',
  'abc',
  'a'.repeat(63),
  'a'.repeat(64),
  'ends-.with',
  'double..dot',
);

test('a bucket is where the SDK\u2019s rules say, at AWS itself and elsewhere', () => {
  // They say so on the console as well when they make a URL that is none.
  using _quiet = vi.spyOn(console, 'error').mockImplementation(() => {});
  fc.assert(
    fc.property(endpoints, regions, buckets, fc.boolean(), (endpoint, region, bucket, pathStyle) => {
      let expected: ReturnType<typeof bySdk>;
      try {
        expected = bySdk(endpoint, region, bucket, pathStyle);
      } catch {
        return; // what they refuse is refused by the backend here
      }
      const found = addressOf({ ...(endpoint !== undefined && { endpoint }), region, bucket, pathStyle })!;
      expect({
        origin: `${found.isSecure ? 'https' : 'http'}://${found.host}`,
        path: found.path,
        region: found.region,
        service: found.service,
      }).toEqual(expected);
      expect(found.host).toBe(
        found.port === undefined ? found.host : `${found.host.replace(/:\d+$/, '')}:${found.port}`,
      );
    }),
    { numRuns: 1000 },
  );
});

test('what has rules of its own is left to the SDK', () => {
  const plain = { region: 'us-east-1', bucket: 'plain', pathStyle: false };
  expect(addressOf({ ...plain, bucket: 'express--use1-az4--x-s3' })).toBeUndefined();
  expect(addressOf({ ...plain, region: 'aws-global' })).toBeUndefined();
  expect(addressOf({ ...plain, region: 'us-iso-east-1' })).toBeUndefined();
  expect(ownEndpoint(plain)).toBe('https://s3.us-east-1.amazonaws.com');
});
