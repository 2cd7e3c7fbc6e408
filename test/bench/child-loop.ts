import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { forEachConcurrently } from '../../lib/base/pool.ts';
import type { Work } from './measured.ts';

export interface Endpoint {
  readonly endpoint: string;
  readonly bucket: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** What the loop copies. */
export interface BareWork {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly concurrency: number;
  readonly keys: readonly { readonly from: string; readonly to: string; readonly sizeBytes: number }[];
}

/** The loop anybody would write with the SDK: GET, SHA-256, PUT, so many at a time. */
export function loopOver(path: string): Work {
  const { from, to, concurrency, keys } = JSON.parse(readFileSync(path, 'utf8')) as BareWork;
  const open = ({ endpoint, credentials }: Endpoint) =>
    new S3Client({
      endpoint,
      credentials,
      region: 'us-east-1',
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      expectContinueHeader: false,
    });
  const [source, target] = [open(from), open(to)];
  return async () => {
    await forEachConcurrently(keys, concurrency, async (key) => {
      const hash = createHash('sha256');
      const { Body } = await source.send(new GetObjectCommand({ Bucket: from.bucket, Key: key.from }));
      const request = { Bucket: to.bucket, Key: key.to, ContentLength: key.sizeBytes };
      if (key.sizeBytes <= 2 ** 20) {
        const bytes = await Body!.transformToByteArray();
        hash.update(bytes);
        await target.send(new PutObjectCommand({ ...request, Body: bytes }));
      } else {
        const body = Readable.from(hashing(Body as Readable, hash), { objectMode: false });
        await target.send(new PutObjectCommand({ ...request, Body: body }));
      }
      hash.digest('hex');
    });
    return { copied: keys.length };
  };
}

async function* hashing(body: AsyncIterable<Uint8Array>, hash: ReturnType<typeof createHash>) {
  for await (const chunk of body) {
    hash.update(chunk);
    yield chunk;
  }
}
