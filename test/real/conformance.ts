import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { defined } from '../../lib/base/defined.ts';
import { onlyEmbedded, type RealS3 } from '../local/s3/real.ts';
import { runSuite } from './run-suite.ts';
import type { Target } from './target.ts';

/** How a server answers the requests that the embedded one answers as AWS documents. Holdfast does not need all of it. */
export interface ConformanceResult {
  readonly held: number;
  /** Titles of the tests that did not hold. What asks for the embedded server itself is not counted. */
  readonly otherwise: readonly string[];
}

/** The embedded server's own suites, on a server that was started here: its bucket is emptied. */
export async function runConformance(target: Target, dir: string): Promise<ConformanceResult> {
  const { name, endpoint = '', credentials } = target;
  const at: RealS3 = { endpoint, bucket: await bucketFor(target), credentials };
  const env = { HOLDFAST_REAL_S3: JSON.stringify(at) };
  const tests = await runSuite('conformance', env, join(dir, `${name}.conformance.json`));
  const failed = tests.filter(({ status }) => status === 'failed');
  return {
    held: tests.filter(({ status }) => status === 'passed').length,
    otherwise: failed.flatMap(({ ancestorTitles, title, failureMessages: [first = ''] = [] }) =>
      first.includes(onlyEmbedded) ? [] : [[...ancestorTitles, title].join(' ')],
    ),
  };
}

/** One of its own, since versions are switched on there; the one that there is where none may be created. */
async function bucketFor({ endpoint, region, bucket, credentials }: Target): Promise<string> {
  const s3 = new S3Client({ region, credentials, forcePathStyle: true, maxAttempts: 1, ...defined({ endpoint }) });
  try {
    const own = 'holdfast-conformance';
    return await s3.send(new CreateBucketCommand({ Bucket: own })).then(
      () => own,
      () => bucket,
    );
  } finally {
    s3.destroy();
  }
}
