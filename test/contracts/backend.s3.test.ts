import { otherBucket, startS3 } from '../fleet/s3-kit.ts';
import { backendContract } from './backend.ts';

for (const prefix of ['', 'our/own +\u00e9/']) {
  backendContract(`S3 backend with the prefix ${JSON.stringify(prefix)}`, async () => {
    const kit = await startS3();
    const place = { bucket: otherBucket, prefix: 'not/ours +/' };
    const neighbour = { backend: kit.connect({ name: 'near', ...place }), place };
    return { backend: kit.connect({ prefix }), neighbour, reset: kit.reset, close: kit.close };
  });
}
