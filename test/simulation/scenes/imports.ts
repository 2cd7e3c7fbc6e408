import type { ObjectRecord } from '../../../lib/store/model.ts';
import { restoreQueueItem } from '../old-queue-item.ts';
import { keyWithin } from '../oracle/reading.ts';
import { Violation } from '../oracle/violation.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;
const hour = 60 * minute;

/** A person imports what stands in a bucket below a prefix. */
async function importFiles(stage: Stage, backend: string, prefix: string): Promise<void> {
  await stage.idle(2 * hour);
  await stage.tick('reconciler', { reconcile: { kind: 'import', backends: [backend], prefix } });
}

/** A file of somebody's that is an object now, which nobody has read yet. */
async function imported(
  stage: Stage,
): Promise<{ readonly record: ObjectRecord; readonly backend: string } | undefined> {
  const { externalClients, oracle, plan, random, world } = stage;
  if (plan.isRestored || !(await stage.isReady())) return undefined;
  await stage.apply(stage.roomyFile(1));
  const backend = random.pick(stage.names());
  const key =
    plan.keys.find(
      (one) => !oracle.objects.has(one) && stage.names().every((name) => stage.bucket(name).peek(one) === undefined),
    ) ?? `theirs/${world.step}`;
  const etag = random.chance(0.5) ? { etag: `"${world.step}-3"` } : {};
  externalClients.write(backend, key, Buffer.from(`their own ${world.step}|`.padEnd(60, '.')), etag);
  await importFiles(stage, backend, key);
  const record = stage.recordOf(key);
  return record?.copies[backend] === '' ? { record, backend } : undefined;
}

/** One bit is turned when it is read first: by whoever copies it, verifies it, or reads it. */
export async function firstReadingWrong(stage: Stage): Promise<boolean> {
  const { actors, faults, random } = stage;
  const it = await imported(stage);
  if (it === undefined || it.record.sha256 !== undefined) return false;
  const { record, backend } = it;
  const way = random.pick(['in parts', 'in parts', 'whole', 'scrubbed', 'read'] as const);
  if (way === 'in parts') stage.tune({ MULTIPART_ABOVE_BYTES: '20', PART_BYTES: '20' });
  faults.misread(backend, record.key);
  if (way === 'scrubbed') {
    await stage.idle(25 * hour);
    await stage.tick('scrubber');
  } else if (way === 'read') {
    for (const wholeBytes of [50, Number.POSITIVE_INFINITY]) {
      const client = actors.startClient(wholeBytes);
      faults.misread(backend, record.key);
      actors.get(client, record.key);
      await stage.settle();
      actors.close(client);
      await stage.settle();
    }
  } else {
    await stage.apply(stage.roomyFile(2));
    for (const ms of [0, 2, 2].map((n) => n * minute)) {
      await stage.idle(ms);
      await stage.tick('replicator');
    }
  }
  faults.forgetMisreads();
  stage.tune({});
  return true;
}

/** After an object was deleted its owner puts the very same file there again, before it is cleaned up. */
export async function sameFileAgain(stage: Stage): Promise<boolean> {
  const { actors, externalClients } = stage;
  const it = await imported(stage);
  if (it === undefined) return false;
  const { record, backend } = it;
  const existing = stage.bucket(backend).peek(record.key)!;
  await stage.asClient((client) => actors.remove(client, record.key));
  await stage.idle(minute);
  externalClients.write(backend, record.key, existing.bytes, existing);
  for (const ms of [6, 6].map((n) => n * minute)) {
    await stage.idle(ms);
    await stage.tick('cleanup-queue');
  }
  if (stage.bucket(backend).peek(record.key) === undefined)
    throw new Violation(
      '3 deletes',
      `The file "${record.key}" on ${backend} is deleted, which its owner put there after the delete`,
      record.key,
    );
  externalClients.remove(backend, record.key);
  return true;
}

/** A file whose name is like ours is an object of its own; then a queue comes back in which its place belongs to another. */
export async function oldItemOfFile(stage: Stage): Promise<boolean> {
  const { oracle, plan, random } = stage;
  if (plan.isRestored || !(await stage.isReady())) return false;
  const key = plan.externalKeys[1]!;
  const backend = random.pick(stage.names());
  const file = stage.bucket(backend).peek(key);
  if (file === undefined) return false;
  await importFiles(stage, backend, key);
  if (stage.recordOf(key)?.copies[backend] !== '' || oracle.queue.has(`${backend}/${key}`)) return false;
  const { generation } = stage.recordOf(key)!;
  restoreQueueItem(stage, { backend, storageKey: key, key: keyWithin(key)!, generation, sizeBytes: file.sizeBytes });
  await stage.idle(6 * minute);
  await stage.tick('cleanup-queue');
  return true;
}
