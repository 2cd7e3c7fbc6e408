import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { recount } from '../../lib/operations/recount.ts';
import { storageKey } from '../../lib/store/keys.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { markName } from '../../lib/transfer/mark.ts';
import { workers } from '../../lib/workers/workers.ts';
import { oddKeys } from '../contracts/backend-access.ts';
import { configure, killTick, makeDue, seenBy, sha256Of, startTick, streamed, transfersOf } from '../support/big.ts';
import { createManualClock } from '../support/fleet.ts';
import { type Lab, openLab } from '../support/lab.ts';

const mib = 2 ** 20;
let lab: Lab;

beforeAll(async () => {
  lab = await openLab({ CLEANUP_QUEUE_GRACE_SECONDS: '0', REPLICATOR_CONCURRENCY: '8' });
});
afterAll(() => lab.close());
beforeEach(() => {
  for (const { server } of lab.stack.backends) server.requests.clear();
});

const tick = (name: keyof typeof workers, env: Record<string, string> = {}, deadlineMs = 3_600_000) =>
  runTick({ ...lab.holdfastProcess, env: { ...lab.env, ...env } }, workers[name]!, {
    deadline: Date.now() + deadlineMs,
  });

async function recordOf(key: string): Promise<ObjectRecord> {
  const entry = (await lab.holdfastProcess.store.objects([key])).get(key);
  if (entry?.kind !== 'object') throw new Error(`There is no "${key}"`);
  return entry;
}

/** Everything about each recorded copy, as its backend tells it with a plain client. */
async function copiesOf(key: string) {
  const { copies } = await recordOf(key);
  const told = Object.entries(copies).map(async ([name, copyId]) => {
    const storage = storageKey(key, copyId);
    const { headers, metadata, sizeBytes } = (await (await openBackend(name)).head(storage))!;
    const { [markName]: _mark, ...own } = metadata;
    return { headers, metadata: own, sizeBytes, sha256: await lab.hashOf(name, storage) };
  });
  return Promise.all(told);
}

async function openBackend(name: string) {
  const config = lab.stack.fleet.backends.find((backend) => backend.name === name)!;
  return lab.holdfastProcess.openBackend(config, {}, 'read-write');
}

async function openUploads(): Promise<number> {
  const found = await Promise.all(
    lab.stack.backends.map(async ({ name }) => (await openBackend(name)).openUploads('big')),
  );
  return found.flat().length;
}

/** Reads and writes of parts so far, whole and broken off. */
function partsSeen() {
  const { requests } = lab.stack.backends[0]!.server;
  const count = (operation: string) =>
    lab.stack.backends.flatMap(({ server }) => server.requests.matching({ operation }));
  const reads = requests.matching({ operation: 'GetObject' }).filter(({ key }) => key.startsWith('big!'));
  return { read: reads.length, sent: count('UploadPart').length };
}

const partsDone = async () => (await transfersOf(lab))[0]!.transfer!.partsDone;

test('a copy of 200 MiB survives kill -9 and a deadline: no part is read twice but those on their way at the kill', async () => {
  const content = streamed(200 * mib);
  const parts = 25;
  const onTheirWay = 8;
  await lab.holdfast.put('big', content);
  // Not so fast that a tick could be sure to end it, or end before it is killed.
  await configure(lab, { 'local-1': { maxBytesPerSecond: 12 * mib } });
  for (const { server } of lab.stack.backends) server.requests.clear();
  const killed = startTick(lab, ['--deadline', '30']);
  while (killed.child.exitCode === null && seenBy(lab, 'UploadPart').count < 8)
    await Promise.race([lab.nextRequest(), killed.ended]);
  await killTick(lab, killed);
  const kept = await partsDone();
  expect(kept).toBeGreaterThan(0);
  expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
  await configure(lab, {});

  // A tick whose time stands still until some parts are there, and is then over but for finishing.
  const before = partsSeen();
  // One more may have been done, and the note of it under way.
  expect(before.read - kept).toBeLessThanOrEqual(onTheirWay + 1);
  const clock = createManualClock(Date.now());
  const stopped = runTick({ ...lab.holdfastProcess, clock }, workers.replicator!, { deadline: clock.now() + 60_000 });
  while (partsSeen().sent < before.sent + 3) await lab.nextRequest();
  clock.advance(48_000);
  expect(await stopped).toMatchObject({ outcome: 'success', deferred: 1 });
  const after = partsSeen();
  const finished = (await partsDone()) - kept;
  expect(finished).toBeLessThan(parts - kept);
  expect(after).toEqual({ read: before.read + finished, sent: before.sent + finished });
  await makeDue(lab);

  const last = await startTick(lab, ['--deadline', '120']).ended;
  expect(last!.report).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect(await transfersOf(lab)).toEqual([]);
  expect(partsSeen()).toEqual({ read: before.read + parts - kept, sent: before.sent + parts - kept });
  const wanted = await sha256Of(content.open());
  expect((await copiesOf('big')).map(({ sha256 }) => sha256)).toEqual([wanted, wanted]);
  expect(await openUploads()).toBe(0);
  expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
});

const headers = {
  contentType: 'application/x-tar; charset="utf-8"',
  contentEncoding: 'gzip',
  cacheControl: 'private, max-age=0',
  contentDisposition: 'attachment; filename="a b.tar"',
  contentLanguage: 'de, en',
};
const metadata = { note: 'two  spaces', 'x-y': '100%', empty: '' };

test('headers, metadata and bytes are identical after a copy in parts, a small copy and an empty one, whatever the key', async () => {
  await configure(lab, {});
  const tuning = { MULTIPART_ABOVE_BYTES: String(5 * mib), PART_BYTES: String(5 * mib) };
  const sizes = [0, 3, 5 * mib + 1];
  const keys = oddKeys
    .filter((key) => Buffer.byteLength(key) <= 997)
    .map((key, i) => ({ key, size: sizes[i % 3]!, i }));
  const longest = 'l'.repeat(997);
  const all = [...keys, { key: longest, size: 5 * mib + 1, i: 99 }, { key: 'last!zero', size: 0, i: 100 }];
  for (const { key, size, i } of all) await lab.holdfast.put(key, streamed(size, i), { headers, metadata });
  expect(await tick('replicator', tuning)).toMatchObject({ outcome: 'success', failed: 0 });
  expect(seenBy(lab, 'CompleteMultipartUpload').count).toBeGreaterThan(10);
  for (const { key, size, i } of all) {
    const told = { headers, metadata, sizeBytes: size, sha256: await sha256Of(streamed(size, i).open()) };
    expect(await copiesOf(key), key).toEqual([told, told]);
  }
});

test('headers, metadata and bytes are identical after a copy that was resumed', async () => {
  const tuning = { MULTIPART_ABOVE_BYTES: String(5 * mib), PART_BYTES: String(5 * mib) };
  const keys = ['r'.repeat(997), 'caf\u00e9 \ud83d\ude80!01ARZ3NDEKTSV4RRFFQ69G5FAV', '../up//\n+%25'];
  const sizeBytes = 12 * mib;
  for (const [i, key] of keys.entries())
    await lab.holdfast.put(key, streamed(sizeBytes, 200 + i), { headers, metadata });
  await configure(lab, { 'local-1': { maxBytesPerSecond: 8 * mib } });
  let ticks = 0;
  do {
    // On a busy machine a tick gets less done: the next has more time.
    const report = await tick('replicator', tuning, 3_000 + 500 * ticks);
    expect(report.failed).toBe(0);
    ticks += 1;
  } while ((await transfersOf(lab)).length > 0);
  expect(ticks).toBeGreaterThan(2);
  for (const [i, key] of keys.entries()) {
    const told = { headers, metadata, sizeBytes, sha256: await sha256Of(streamed(sizeBytes, 200 + i).open()) };
    expect(await copiesOf(key), key).toEqual([told, told]);
  }
});
