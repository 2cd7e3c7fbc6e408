import { isIP } from 'node:net';
import type { S3ConnectionOptions } from './options.ts';
import { percentEncoded, type SigningScope } from './sign.ts';

/** Where the objects of a bucket are asked for, and for whom requests are signed. */
export interface Address extends SigningScope {
  readonly isSecure: boolean;
  readonly hostname: string;
  readonly port?: number;
  /** The `host` header. */
  readonly host: string;
  /** Encoded; before the slash that keys begin after. */
  readonly path: string;
}

type Located = Pick<S3ConnectionOptions, 'endpoint' | 'region' | 'bucket' | 'pathStyle'>;

/** The domains of AWS, by how the regions in them begin. Source: the partitions of the SDK's endpoint rules. */
const domains: readonly (readonly [regions: RegExp, domain: string])[] = [
  [/^(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+$/, 'amazonaws.com'],
  [/^us-gov-\w+-\d+$/, 'amazonaws.com'],
  [/^cn-\w+-\d+$/, 'amazonaws.com.cn'],
];

/**
 * The endpoint of S3 itself in a region, written as a custom one would be; undefined for regions and buckets of which only the
 * SDK's rules know where they are.
 */
export function ownEndpoint({ region, bucket }: Pick<Located, 'region' | 'bucket'>): string | undefined {
  if (isOfItsOwnKind(bucket)) return undefined;
  const domain = domains.find(([regions]) => regions.test(region))?.[1];
  return domain && `https://s3.${region}.${domain}`;
}

/** Undefined where the SDK's rules are to be asked. */
export function addressOf(located: Located): Address | undefined {
  const { region, bucket, pathStyle } = located;
  const endpoint = located.endpoint ?? ownEndpoint(located);
  if (endpoint === undefined || isOfItsOwnKind(bucket) || region === 'aws-global') return undefined;
  const url = new URL(endpoint);
  if (url.username !== '' || url.search !== '' || url.hash !== '') return undefined;
  const isSecure = url.protocol === 'https:';
  const isInHost = !pathStyle && isIP(bare(url.hostname)) === 0 && isHostLabel(bucket, { withDots: !isSecure });
  const inHost = isInHost ? `${bucket}.` : '';
  const path = url.pathname.replace(/\/+$/, '');
  return {
    isSecure,
    hostname: bare(inHost + url.hostname),
    ...(url.port !== '' && { port: Number(url.port) }),
    host: inHost + url.host,
    path: isInHost ? path : `${path}/${percentEncoded(bucket)}`,
    region,
    service: 's3',
  };
}

/** Directory buckets, access points and what else has rules of its own says so by two hyphens. */
function isOfItsOwnKind(bucket: string): boolean {
  return bucket.includes('--');
}

/** An address of IPv6 has brackets in a URL, and none where it is connected to. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function isHostLabel(bucket: string, { withDots }: { readonly withDots: boolean }): boolean {
  const label = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
  const labels = bucket.split('.');
  return (
    bucket.length >= 3 &&
    bucket.length <= 63 &&
    (labels.length === 1 || withDots) &&
    labels.every((one) => label.test(one)) &&
    isIP(bucket) === 0
  );
}

/** A key as it stands in a path. */
export function pathOfKey(key: string): string {
  return percentEncoded(key).replaceAll('%2F', '/');
}
