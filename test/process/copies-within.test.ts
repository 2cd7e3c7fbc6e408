import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { storageKey } from '../../lib/store/keys.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { readMark } from '../../lib/transfer/mark.ts';
import { workers } from '../../lib/workers/workers.ts';
import { oddKeys } from '../contracts/backend-access.ts';
import { someBytes } from '../contracts/backend-bytes.ts';
import { type Lab, openLab } from '../support/lab.ts';

let lab: Lab;
/** Two buckets of one server. */
const names = ['first', 'second'];

beforeAll(async () => {
  lab = await openLab({}, async ({ fleet }) => {
    const [local] = fleet.backends;
    // A copy: the SDK writes into what it is given.
    const credentials = { ...(local!.credentials as { accessKeyId: string; secretAccessKey: string }) };
    const s3 = new S3Client({ endpoint: local!.endpoint!, credentials, region: 'us-east-1', forcePathStyle: true });
    for (const Bucket of names) await s3.send(new CreateBucketCommand({ Bucket }));
    s3.destroy();
    const backends = names.map((name) => ({ ...local!, name, bucket: name, prefix: `${name} +/` }));
    return parseFleetFile({ backends, policies: { default: { factor: 2 } } });
  });
});
afterAll(() => lab.close());

test('a server with two buckets copies by itself what is replicated from one to the other, as it is', async () => {
  const options = {
    headers: { contentType: 'text/plain; charset=utf-8', cacheControl: 'max-age=60, private' },
    metadata: { name: 'of the caller' },
  };
  const contents = new Map(oddKeys.map((key, i) => [key, someBytes(i * 10_000, i)]));
  for (const [key, bytes] of contents) await lab.holdfast.put(key, bytes, options);
  const { requests } = lab.stack.backends[0]!.server;
  requests.clear();
  const deadline = Date.now() + 3_600_000;
  const report = await runTick({ ...lab.holdfastProcess, env: lab.env }, workers.replicator!, { deadline });
  expect(report).toMatchObject({ outcome: 'success', succeeded: contents.size });
  const { CopyObject, GetObject = 0, PutObject = 0 } = requests.byOperation();
  expect({ CopyObject, GetObject, PutObject }).toEqual({ CopyObject: contents.size, GetObject: 0, PutObject: 0 });
  const bodies = requests.all().reduce((sum, { bytesIn }) => sum + bytesIn, 0);
  expect(bodies).toBe(0);
  const { fleetId, file } = (await readFleet(lab.holdfastProcess.store, Date.now())).config!;
  for (const [key, bytes] of contents) {
    const { copies } = (await lab.holdfastProcess.store.objects([key])).get(key) as ObjectRecord;
    expect(Object.keys(copies).sort()).toEqual(names);
    for (const config of file.backends) {
      const backend = await lab.holdfastProcess.openBackend(config, {}, 'read-write');
      const storage = storageKey(key, copies[config.name]!);
      const found = await backend.get(storage);
      expect((await collect(found.body)).equals(bytes)).toBe(true);
      expect(found).toMatchObject(options);
      expect(readMark(found.metadata, fleetId, config.name, storage).outcome).toBe('ours');
    }
  }
});
