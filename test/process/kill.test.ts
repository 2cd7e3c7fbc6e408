import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recount } from '../../lib/operations/recount.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { isWhole } from '../support/extent.ts';
import { seeded } from '../support/fleet.ts';
import { expireLeases, type Lab, openLab } from '../support/lab.ts';

const bin = resolve(import.meta.dirname, '../../bin/holdfast.js');
const objects = isWhole ? 120 : 60;
const kills = isWhole ? 10 : 3;
/** A kill wastes at most the copies of what was in work, and of what waited to be recorded. */
const concurrency = 8;
const mostWaiting = 32;
let lab: Lab;

beforeAll(async () => {
  lab = await openLab({
    RECONCILER_MIN_AGE_SECONDS: '0',
    CLEANUP_QUEUE_GRACE_SECONDS: '0',
    REMOVAL_LIMIT_MIN_COUNT: '1000',
    REPLICATOR_CONCURRENCY: String(concurrency),
  });
});

afterAll(() => lab.close());

const contentOf = (i: number) => Buffer.alloc(2_000 + i, `content ${i} `);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Runs a replicator tick as its own process and kills it once the backends have seen so many uploads. */
async function killedTick(uploads: number): Promise<void> {
  for (const { server } of lab.stack.backends) server.requests.clear();
  const child: ChildProcess = spawn(process.execPath, [bin, 'tick', 'replicator'], { env: lab.env, stdio: 'ignore' });
  const exit = once(child, 'exit');
  const seen = () =>
    lab.stack.backends.reduce((sum, { server }) => sum + server.requests.count({ operation: 'PutObject' }), 0);
  while (child.exitCode === null && seen() < uploads) await Promise.race([lab.nextRequest(), exit]);
  child.kill('SIGKILL');
  await exit;
  await expireLeases(lab, 'replicator');
}

const tick = (name: keyof typeof workers) =>
  runTick({ ...lab.holdfastProcess, env: lab.env }, workers[name]!, { deadline: Date.now() + 3_600_000 });

/** Storage keys that records name, per backend, and the hash each must have. */
async function recorded(): Promise<Map<string, Map<string, string>>> {
  const named = new Map(lab.stack.backends.map(({ name }) => [name, new Map<string, string>()]));
  const keys = Array.from({ length: objects }, (_, i) => `k${i}`);
  for (const [key, entry] of await lab.holdfastProcess.store.objects(keys)) {
    if (entry.kind !== 'object') throw new Error(`"${key}" is gone`);
    for (const [backend, copyId] of Object.entries(entry.copies))
      named.get(backend)!.set(`${key}!${copyId}`, entry.sha256!);
  }
  return named;
}

test('kill -9 during replication at seeded moments loses nothing, bends no ledger, and leaves few orphans, which one sweep finds [copies-as-recorded]', async () => {
  for (let i = 0; i < objects; i += 1) await lab.holdfast.put(`k${i}`, contentOf(i));
  const random = seeded(20261122);
  for (let kill = 0; kill < kills; kill += 1) {
    await killedTick(1 + Math.floor(random() * 15));
    expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
  }
  const named = await recorded();
  let orphans = 0;
  for (const { name } of lab.stack.backends) {
    const listed = await lab.listed(name);
    for (const key of named.get(name)!.keys()) expect(listed.has(key)).toBe(true);
    orphans += [...listed.keys()].filter((key) => !named.get(name)!.has(key)).length;
  }
  process.stdout.write(`orphans after ${kills} kills: ${orphans}\n`);
  expect(orphans).toBeGreaterThan(0);
  expect(orphans).toBeLessThanOrEqual(kills * (concurrency + mostWaiting));
  await tick('reconciler');
  await tick('cleanup-queue');
  await tick('replicator');
  const settled = await recorded();
  for (const { name } of lab.stack.backends) {
    const listed = await lab.listed(name);
    expect([...listed.keys()].sort()).toEqual([...settled.get(name)!.keys()].sort());
    for (const [key, hash] of settled.get(name)!) expect(await lab.hashOf(name, key)).toBe(hash);
  }
  for (let i = 0; i < objects; i += 1) {
    const entry = (await lab.holdfastProcess.store.objects([`k${i}`])).get(`k${i}`);
    expect(entry).toMatchObject({ kind: 'object', sha256: sha256(contentOf(i)) });
    expect(Object.keys(entry?.kind === 'object' ? entry.copies : {})).toHaveLength(2);
  }
  expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
});
