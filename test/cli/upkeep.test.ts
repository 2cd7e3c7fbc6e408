import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import { createProcess } from '../../lib/process/process.ts';
import { passName } from '../../lib/store/pass-rows.ts';
import { type CliLab, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 3 });
  await lab.json(['init']);
});
afterAll(() => lab.close());

interface Status {
  readonly version: number;
  readonly objects: number;
  readonly underReplicated: number;
  readonly overReplicated: number;
  readonly damaged: number;
  readonly backends: readonly { readonly name: string; readonly breaker: string; readonly usedBytes: number }[];
  readonly placements: readonly { readonly placement: string; readonly objects: number }[];
  readonly queue: Readonly<Record<string, { readonly objects: number; readonly bytes: number }>>;
  readonly workers: readonly { readonly name: string; readonly paused: boolean; readonly last: object | null }[];
}

const status = () => lab.json<Status>(['status']);

test('a backend that does not answer, or takes no writes, is shown with why, since when and until when', async () => {
  const { store } = createProcess({ env: lab.stack.env });
  const [since, until] = [Date.UTC(2026, 0, 2, 3, 4, 5), Date.UTC(2026, 0, 2, 3, 9, 5)];
  const rows = [
    [
      'breaker/local-2',
      { failures: 5, openedAt: since, unhealthySince: since, probeAfter: until, reason: 'no\u202eroute' },
    ],
    ['refusing/local-3', { since, attempts: 1, retryAt: until, message: 'AccessDenied' }],
  ] as const;
  for (const [sk, data] of rows)
    await store.write({ kind: 'row', put: { pk: 'fleet', sk, version: 1, data }, expect: 'absent' });

  const { stdout } = await lab.run(['status']);
  const { backends } = await status();

  for (const [sk] of rows) await store.write({ kind: 'row-end', pk: 'fleet', sk, expect: 1 });
  expect(stdout).toContain(
    'Backend "local-2" has not answered since 2026-01-02 03:04:05 UTC, it is asked again from 2026-01-02 03:09:05 on: no\\u202eroute',
  );
  expect(stdout).toContain('Backend "local-3" takes no writes since 2026-01-02T03:04:05.000Z');
  expect(backends[1]).toMatchObject({ unhealthySince: since, probeAfter: until, reason: 'no\u202eroute' });
});

test('a tick of the replicator brings objects to their factor, and the next one finds nothing', async () => {
  for (const key of ['a', 'b']) await lab.holdfast.put(key, 'content');
  const before = await status();

  const tick = await lab.json(['tick', 'replicator', '--deadline', '30']);
  const idle = await lab.json(['tick', 'replicator']);
  const after = await status();

  expect(before).toMatchObject({ objects: 2, underReplicated: 2 });
  expect(tick).toMatchObject({ worker: 'replicator', outcome: 'success', planned: 2, succeeded: 2, failed: 0 });
  expect(idle).toMatchObject({ outcome: 'empty', planned: 0 });
  expect(after).toMatchObject({ underReplicated: 0, overReplicated: 0, damaged: 0 });
  expect(after.placements).toEqual([expect.objectContaining({ placement: 'default/local-1+local-2', objects: 2 })]);
  expect(after.backends.map(({ breaker }) => breaker)).toEqual(['closed', 'closed', 'closed']);
  expect(after.workers.find(({ name }) => name === 'replicator')!.last).toMatchObject({ succeeded: 2 });
});

test('a signal ends a tick after what is in flight, and it gives its lease back', async () => {
  await lab.holdfast.put('stopped', 'content');
  const servers = lab.stack.backends.map(({ server }) => server);
  for (const { faults, requests } of servers) {
    requests.clear();
    faults.add({ kind: 'hang', id: 'hang', match: { operation: 'PutObject', keyPrefix: 'stopped' } });
  }
  const isRead = () =>
    servers.some(({ requests }) => requests.count({ operation: 'GetObject', keyPrefix: 'stopped', status: 200 }) > 0);
  const running = lab.run(['tick', 'replicator']);
  while (!isRead()) await Promise.race(servers.map(({ requests }) => requests.next()));
  process.emit('SIGTERM', 'SIGTERM');
  for (const { faults } of servers) faults.clear('hang');
  const { code, stdout } = await running;
  expect([code, stdout]).toEqual([143, expect.stringContaining('Stopped by a signal')]);
  expect(await lab.json(['tick', 'replicator'])).toMatchObject({ outcome: 'empty' });
  expect(await status()).toMatchObject({ underReplicated: 0 });
});

test('who waits for another to end its pass, and stops that with a signal, is told so, and ends by the signal', async () => {
  const { store } = createProcess({ env: lab.stack.env });
  const part = `asked/${passName({ kind: 'sweep', backends: ['local-1'] })}`;
  const lease = { worker: 'reconciler', part, holder: 'another', now: Date.now() };
  const held = await store.acquireLease({ ...lease, expiresAt: lease.now + 600_000 });
  const { sleep } = systemClock;
  const slept = vi.spyOn(systemClock, 'sleep').mockImplementation(async (ms, signal) => {
    if (ms !== 2_000) return sleep(ms, signal);
    process.emit('SIGINT', 'SIGINT');
  });
  const { code, stdout, stderr } = await lab.run(['reconcile', 'local-1']);
  slept.mockRestore();
  await store.updateLease(held!, { expiresAt: 0 });
  expect([code, stdout]).toEqual([130, expect.stringContaining('`holdfast reconcile local-1` goes on from here')]);
  expect(stderr).not.toContain('error');
});

test('a dry run plans and changes nothing [dry-runs-change-nothing]', async () => {
  await lab.holdfast.put('dry', 'content');

  const tick = await lab.json(['tick', 'replicator', '--dry-run', '--part', '0', '--of', '1', '--rounds', '1']);

  expect(tick).toMatchObject({ succeeded: 0, failed: 0 });
  expect(await status()).toMatchObject({ underReplicated: 1 });
  await lab.json(['tick', 'replicator']);
});

test('a paused worker does nothing until it is resumed [settings-hold-everywhere]', async () => {
  await lab.holdfast.put('paused', 'content');

  const paused = await lab.json(['pause', 'replicator']);
  const whilePaused = await lab.json(['tick', 'replicator']);
  const resumed = await lab.json(['resume', 'replicator']);
  const afterwards = await lab.json(['tick', 'replicator']);

  expect(paused).toMatchObject({ paused: ['replicator'] });
  expect(whilePaused).toMatchObject({ outcome: 'empty', message: 'The worker is paused' });
  expect(resumed).toMatchObject({ paused: [] });
  expect(afterwards).toMatchObject({ outcome: 'success', succeeded: 1 });
});

test('what is set holds in other processes until it is unset, and the cleanup queue obeys it [settings-hold-everywhere]', async () => {
  await lab.holdfast.put('doomed', 'content');
  const set = await lab.json(['set', 'CLEANUP_QUEUE_GRACE_SECONDS', '0']);
  const used = (s: Status) => s.backends.reduce((sum, b) => sum + b.usedBytes, 0);
  const before = used(await status());

  await lab.json(['rm', 'doomed']);
  const queued = await lab.json<{ items: object[] }>(['queue']);
  const tick = await lab.json(['tick', 'cleanup-queue']);
  const unset = await lab.json(['unset', 'CLEANUP_QUEUE_GRACE_SECONDS']);

  expect(set).toMatchObject({ overrides: { CLEANUP_QUEUE_GRACE_SECONDS: '0' } });
  expect(queued.items).toEqual([expect.objectContaining({ state: 'cleanup', key: 'doomed', reason: 'deleted' })]);
  expect(tick).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect(unset).toMatchObject({ overrides: {} });
  expect(before - used(await status())).toBe('content'.length);
});

test('a deletion that was given up is shown, and requeued', async () => {
  const env = { CLEANUP_QUEUE_GRACE_SECONDS: '0', CLEANUP_QUEUE_MAX_ATTEMPTS: '1', HOLDFAST_LOG: 'silent' };
  await lab.holdfast.put('stubborn', 'content');
  await lab.run(['rm', 'stubborn'], { env });
  const match = { operation: ['DeleteObject', 'DeleteObjects'], keyPrefix: 'stubborn' };
  for (const { server } of lab.stack.backends)
    server.faults.add({ kind: 'error', status: 403, code: 'AccessDenied', match, id: 'no' });

  const failed = await lab.run(['tick', 'cleanup-queue', '--json'], { env });
  const dead = await lab.json<{ items: { id: string; lastError: string }[] }>(['queue', 'dead']);
  for (const { server } of lab.stack.backends) server.faults.clear('no');
  const requeued = await lab.json(['queue', 'requeue', dead.items[0]!.id]);
  const again = await lab.run(['queue', 'requeue', dead.items[0]!.id, '--json']);
  const tick = await lab.json(['tick', 'cleanup-queue']);

  expect(failed.code).toBe(1);
  expect(failed.json()).toMatchObject({ outcome: 'failed' });
  expect(dead.items).toEqual([expect.objectContaining({ key: 'stubborn', state: 'dead' })]);
  expect(requeued).toEqual({ requeued: 1, missed: 0 });
  expect(again.json()).toEqual({ requeued: 0, missed: 1 });
  expect(tick).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect((await status()).queue).toMatchObject({ cleanup: { objects: 0 }, dead: { objects: 0 } });
});

test('recount finds the ledger exact', async () => {
  expect(await lab.json(['recount'])).toMatchObject({ differences: [], moved: [] });
});

test('init can be repeated, and apply makes a new version', async () => {
  const { version } = await status();

  expect(await lab.json(['init'])).toMatchObject({ version: version + 1 });
  expect(await lab.json(['apply'])).toMatchObject({ version: version + 2 });
});

test('people get the same facts in words', async () => {
  const ran = await lab.run(['status']);

  expect(ran.stdout).toMatch(/^Fleet [0-9A-Z]{26}, version \d+: \d+ objects/);
  expect(ran.stdout).toMatch(/^local-1 {2}ok {2}/m);
  expect((await lab.run(['recount'])).stdout).toBe('the ledger is exact\n');
  expect((await lab.run(['tick', 'replicator'])).stdout).toMatch(/^replicator: empty in /);
});
