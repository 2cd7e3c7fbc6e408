import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { findCapabilities } from '../../lib/fleet/find-capabilities.ts';
import type { FaultRule } from '../../lib/local/s3/faults.ts';
import { otherBucket, startS3 } from '../fleet/s3-kit.ts';
import { backendContract } from './backend.ts';

/** What real servers do otherwise than AWS, together as they were met. The contract holds with the capabilities found there. */
const servers: Readonly<Record<string, readonly FaultRule[]>> = {
  'that keeps objects as files': [
    { kind: 'resolve-paths' },
    { kind: 'refuse-nested' },
    { kind: 'keep-truncated' },
    { kind: 'refuse-keys', pattern: '/$|[\\u0000-\\u001f\\u007f-\\u009f]|[^/]{256}' },
    { kind: 'reject-feature', feature: 'CopyObject' },
  ],
  'of an older S3': [
    { kind: 'reject-feature', feature: 'conditional-put', answer: 'silently-ignore' },
    { kind: 'reject-feature', feature: 'conditional-delete', answer: 'silently-ignore' },
    { kind: 'reject-feature', feature: 'checksum', answer: 'silently-ignore' },
    { kind: 'reject-feature', feature: 'DeleteObjects' },
    { kind: 'reject-feature', feature: 'tagging' },
    { kind: 'reject-feature', feature: 'versioning' },
    { kind: 'reject-feature', feature: 'start-after', answer: 'silently-ignore' },
    { kind: 'hide-encoding', match: { operation: 'ListMultipartUploads' } },
    { kind: 'name-versions' },
    { kind: 'fold-headers' },
  ],
};

for (const [name, faults] of Object.entries(servers)) {
  backendContract(`S3 server ${name}`, async () => {
    // And one that takes parts of any size.
    const kit = await startS3(systemClock, 1);
    const place = { bucket: otherBucket, prefix: 'near/' };
    const misbehave = () => {
      for (const [i, fault] of faults.entries()) kit.server.faults.add({ ...fault, id: String(i) });
    };
    misbehave();
    const capabilities = await findCapabilities({ ...kit.options, prefix: 'p/' }, { ids: createIds(systemClock) });
    const numbers = Array.from({ length: 1000 }, (_, i) => i).values();
    // A prefix for each test: what broke off in one may be stored once the next has begun.
    const next = () => kit.connect({ prefix: `tests/${numbers.next().value}/deep/er/`, capabilities });
    let backend = next();
    return {
      get backend() {
        return backend;
      },
      can: capabilities,
      neighbour: { backend: kit.connect({ name: 'near', ...place, capabilities }), place },
      async reset() {
        backend = next();
      },
      close: kit.close,
    };
  });
}
