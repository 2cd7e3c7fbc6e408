import { expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { createBackendOpener } from '../../lib/process/open-backend.ts';
import { kindOf } from '../contracts/backend-bytes.ts';
import { bucket, keys, s3ForFile } from '../fleet/s3-kit.ts';

const { kit } = s3ForFile({});

test.each([
  ['role', undefined, 'precondition'],
  ['role', false, 'none'],
  ['env', undefined, 'none'],
  ['env', true, 'precondition'],
] as const)(
  'a backend reached by %s, whose conditional PUT was found to be %s, answers a second write with the error %s',
  async (credentials, conditionalPut, answer) => {
    const { endpoint } = kit.server;
    const own = { name: 'a', bucket, pathStyle: true };
    const role = { ...own, credentials: 'role' };
    const elsewhere = { ...own, endpoint, credentials: { env: 'A' } };
    const file = parseFleetFile({
      backends: [credentials === 'role' ? role : elsewhere],
      policies: { default: { factor: 1 } },
    });
    const opener = createBackendOpener({
      clock: systemClock,
      ids: createIds(systemClock),
      credentials: { resolve: async () => keys },
      env: { AWS_ENDPOINT_URL_S3: endpoint },
    });
    const can = conditionalPut === undefined ? {} : { conditionalPut };
    const backend = await opener.open(file.backends[0]!, can, 'read-write');
    const put = () => backend.put({ storageKey: 'k', sizeBytes: 1, body: bodyOf(Buffer.from('x')), ifAbsent: true });
    expect([await kindOf(put()), await kindOf(put())]).toEqual(['none', answer]);
    await opener.close();
  },
);
