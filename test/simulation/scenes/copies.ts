import { bodyOf } from '../../../lib/base/bytes.ts';
import { Violation } from '../oracle/violation.ts';
import { flipped } from '../sim-backend.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** A part that an earlier turn of the copy sent, with other bytes, arrives when all parts were sent and none is completed. */
export async function latePart(stage: Stage): Promise<boolean> {
  const { world, oracle, actors, random } = stage;
  if (!(await stage.isReady())) return false;
  stage.tune({ MULTIPART_ABOVE_BYTES: '20', PART_BYTES: '20' });
  await stage.apply(stage.roomyFile(1));
  const record = await stage.putNew(1, 50);
  if (record === undefined) return false;
  await stage.apply(stage.roomyFile(2));
  const { actor } = actors.startTick('replicator', {}, 900_000);
  const transfer = () =>
    [...oracle.queue.values()].find(
      ({ state, key, generation }) => state === 'transfer' && key === record.key && generation === record.generation,
    );
  const hasSent = (target: string) => [1, 2, 3].every((part) => actor.calls.has(`${target} part-${part}`));
  const isThere = await stage.untilAt(actor, () => {
    const item = transfer();
    return item !== undefined && hasSent(item.backend) && isListing(item.backend, item.storageKey);
  });
  const item = transfer();
  if (isThere && item !== undefined) {
    const { backend, storageKey } = item;
    const [source] = Object.keys(record.copies) as [string];
    const bytes = stage.bucket(source).peek(stage.storageOf(record, source))!.bytes.subarray(0, 20);
    const [upload] = await stage.bucket(backend).openUploads(storageKey);
    const body = bodyOf(flipped(bytes, random, 'rest'));
    // It may be completed by now.
    if (upload !== undefined)
      await stage
        .bucket(backend)
        .uploadPart({ storageKey, uploadId: upload, partNumber: 1, sizeBytes: bytes.length, body });
  }
  await stage.settle();
  stage.tune({});
  return isThere;

  function isListing(backend: string, storageKey: string): boolean {
    return world.isAskedAbout(backend, storageKey) && world.isAsking(actor, 'list-parts');
  }
}

/** Somebody empties a bucket: nothing counts there any more, and what it held is copied elsewhere. Then all is back. */
export async function bucketEmptied(stage: Stage): Promise<boolean> {
  const { oracle, externalClients, needs, random } = stage;
  if (!(await stage.isReady()) || stage.plan.isRestored) return false;
  await stage.apply(stage.roomyFile(1));
  for (let i = 0; i < 2; i += 1) await stage.putNew(2, 30);
  await stage.apply(stage.roomyFile(2));
  const name = random.pick(stage.names());
  const bucket = stage.bucket(name);
  const held = new Map(bucket.contents());
  const isTheirs = (storageKey: string) =>
    held.get(storageKey)!.metadata.holdfast === undefined && !storageKey.startsWith('.holdfast/');
  for (const storageKey of held.keys()) {
    oracle.bytesHarmed(name, storageKey);
    if (isTheirs(storageKey)) externalClients.remove(name, storageKey);
    else await bucket.delete([{ storageKey }]);
  }
  for (const ms of [1, 1, 1, 1, 1, 6.5, 6.5, 6.5].map((n) => n * minute)) {
    await stage.idle(ms);
    await stage.tick('replicator');
  }
  for (const entry of oracle.objects.values()) {
    if (entry.kind !== 'object' || entry.condition === 'damaged' || needs.isHidden(entry)) continue;
    const lacking = oracle.goodCopies(entry).length === 0 ? 0 : needs.lackingCopies(entry, name);
    if (lacking > 0)
      throw new Violation(
        '6 convergence',
        `"${entry.key}" lacks ${lacking} copies although ${name} is empty`,
        entry.key,
      );
  }
  for (const [storageKey, object] of held) {
    if (isTheirs(storageKey)) externalClients.write(name, storageKey, object.bytes, object);
    else bucket.putNow(storageKey, object.bytes, object);
  }
  for (let tries = 0; tries < 2; tries += 1) {
    await stage.idle(7 * minute);
    await stage.tick('replicator');
  }
  return true;
}

/** What is in quarantine cannot be read on the seventh day, and nothing else of its object is good: it stays. */
export async function unreadableOnDaySeven(stage: Stage): Promise<boolean> {
  const { oracle, refusals } = stage;
  if (!(await stage.isReady())) return false;
  await stage.apply(stage.roomyFile(2));
  const record = await stage.putNew(2, 40);
  if (record === undefined) return false;
  const [backend] = Object.keys(record.copies) as [string];
  const storageKey = stage.storageOf(record, backend);
  const bucket = stage.bucket(backend);
  const good = bucket.peek(storageKey)!;
  stage.rot(record, backend);
  await stage.idle(25 * hour);
  await stage.tick('scrubber');
  const isQuarantined = oracle.queue.get(`${backend}/${storageKey}`)?.cause === 'quarantined';
  if (isQuarantined) {
    await stage.tick('replicator');
    // It was not the bytes that were wrong.
    bucket.putNow(storageKey, good.bytes, good);
    refusals.hideBytes(backend, storageKey);
    const now = stage.recordOf(record.key)!;
    for (const name of Object.keys(now.copies)) stage.rot(now, name);
    await stage.idle(7 * day);
    for (let tries = 0; tries < 2; tries += 1) {
      await stage.idle(6 * minute);
      await stage.tick('cleanup-queue');
    }
    if (bucket.peek(storageKey) === undefined)
      throw new Violation(
        '2 good copies',
        `"${storageKey}" on ${backend} is deleted unread, the last that was good`,
        record.key,
      );
    refusals.showBytes(backend, storageKey);
  }
  for (let tries = 0; tries < 2; tries += 1) {
    await stage.idle(25 * hour);
    await stage.tick('cleanup-queue');
  }
  const end = stage.recordOf(record.key);
  if (end === undefined || oracle.goodCopies(end).length === 0)
    throw new Violation('2 good copies', `"${record.key}" did not come back from quarantine`, record.key);
  return isQuarantined;
}

/** What was deleted is brought back, while the request of a process that died is about to delete its bytes. */
export async function broughtBackWhileClaimed(stage: Stage): Promise<boolean> {
  const { world, actors } = stage;
  if (!(await stage.isReady())) return false;
  await stage.apply(stage.roomyFile(1));
  const record = await stage.putNew(1, 40);
  if (record === undefined) return false;
  await stage.asClient((client) => actors.remove(client, record.key));
  await stage.idle(6 * minute);
  const { actor } = actors.startTick('cleanup-queue', {}, 900_000);
  const isThere = await stage.untilAt(actor, () => world.isAsking(actor, 'DELETE'));
  if (isThere) {
    world.leaveBehind(actor, 'DELETE', 60 * minute);
    actors.kill(actor);
    await stage.asClient((client) => actors.undelete(client, record.key));
    await stage.idle(61 * minute);
  }
  await stage.settle();
  await stage.tick('cleanup-queue');
  return isThere;
}
