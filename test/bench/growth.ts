import { hash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { marshall } from '@aws-sdk/util-dynamodb';
import { bodyOf } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { type Ids, idsFrom } from '../../lib/base/ids.ts';
import { createClient } from '../../lib/client/client.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import type { Backend } from '../../lib/fleet/backend.ts';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess, type HoldfastProcess } from '../../lib/process/process.ts';
import { marshallOptions } from '../../lib/store/dynamodb/attributes.ts';
import { entryToItem } from '../../lib/store/dynamodb/items.ts';
import { type LedgerDelta, newLedgerDelta } from '../../lib/store/ledger.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import type { Store } from '../../lib/store/port.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickReport } from '../../lib/tick/tick.ts';
import { headersDigest } from '../../lib/transfer/headers-digest.ts';
import { workers } from '../../lib/workers/workers.ts';
import type { Target } from './verdicts.ts';

/**
 * What metadata costs as a fleet grows: records at their factor, written straight into the tables, and a few new objects.
 * Backends are in memory: their requests cost elsewhere. The tables are too, where the machine has a file system in memory:
 * on a disk each write is synced.
 */
export async function measureGrowth(totals: readonly number[], say: (line: string) => void): Promise<Target[]> {
  if (totals.length === 0) return [];
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-growth-'));
  const backends = new Map<string, Backend>(
    names.map((name) => [name, withFilledBytes(createMemoryBackend({ name, clock: systemClock }))]),
  );
  try {
    await onTables(dir, backends, async (deps) => {
      await deps.createTables();
      const at = (name: string) => ({
        name,
        endpoint: `https://${name}.example.com`,
        bucket: name,
        credentials: 'role',
      });
      await apply(deps, parseFleetFile({ backends: names.map(at), policies: { default: { factor: 2 } } }));
    });
    const measured: Growth[] = [];
    let existing = 0;
    for (const total of totals) {
      const filledAt = performance.now();
      const ledger = fillTables(join(dir, 'dynamodb.sqlite'), existing, total);
      const fillS = (performance.now() - filledAt) / 1000;
      existing = total;
      await onTables(dir, backends, async (deps) => {
        await write(deps, ledger);
        const growth = await measureAt(deps, total);
        measured.push(growth);
        say(`${total} objects (filled in ${fillS.toFixed(0)} s): ${told(growth)}`);
      });
    }
    return targetsOf(totals, measured);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const names = ['local-1', 'local-2', 'local-3'];
/** Each tick of the scrubber reads a batch, however many objects there are: its share of ten years is less. */
const tuning = { SCRUBBER_BATCH_SIZE: '100', SCRUBBER_ROUNDS: '1', SCRUBBER_CYCLE_DAYS: '3650' };

type GrowthDeps = HoldfastProcess & { readonly watch: ReturnType<typeof watched> };

/** Works on the tables in a folder, which nobody else has open meanwhile. */
async function onTables(
  dir: string,
  backends: ReadonlyMap<string, Backend>,
  work: (deps: GrowthDeps & { readonly findCapabilities: () => Promise<object> }) => Promise<void>,
): Promise<void> {
  const dynamo = await startDynamo({ dir });
  const access = { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'x' };
  const holdfastProcess = createProcess({ env: { AWS_ENDPOINT_URL_DYNAMODB: dynamo.endpoint, ...access, ...tuning } });
  const watch = watched(holdfastProcess.store);
  const openBackend: HoldfastProcess['openBackend'] = async ({ name }) => backends.get(name)!;
  try {
    await work({ ...holdfastProcess, store: watch.store, watch, openBackend, findCapabilities: async () => ({}) });
  } finally {
    await holdfastProcess.close();
    await dynamo.close();
  }
}

/** A backend that has the bytes of every filled record: none. */
function withFilledBytes(backend: Backend): Backend {
  const empty = { sizeBytes: 0, etag: '"d41d8cd98f00b204e9800998ecf8427e"', headers: {}, metadata: {} };
  return {
    ...backend,
    get: async (storageKey, options, signal) =>
      storageKey.startsWith('fill/')
        ? { ...empty, body: bodyOf(new Uint8Array()) }
        : backend.get(storageKey, options, signal),
  };
}

/** One kind of tick: medians, and the calls of the last. */
interface Measured {
  readonly ms: number;
  readonly cpuMs: number;
  readonly calls: string;
}

interface Growth {
  readonly idle: Measured;
  readonly copied: Measured;
  readonly scrubbed: Measured;
  readonly unitsEach: number;
}

async function measureAt({ watch, ...deps }: GrowthDeps, total: number): Promise<Growth> {
  const tick = async (worker: WorkerName, isRight: (report: TickReport) => boolean): Promise<TickReport> => {
    const report = await runTick(deps, workers[worker]!, { deadline: Date.now() + 600_000 });
    if (!isRight(report)) throw new Error(JSON.stringify(report));
    return report;
  };
  const client = createClient(deps);
  let [run, copies, units] = [0, 0, 0];
  const put = async () => {
    run += 1;
    for (let i = 0; i < 50; i += 1) await client.put(`grow/${total}/${run}/${i}`, new Uint8Array(100));
  };
  const copy = async () => {
    copies += (await tick('replicator', ({ succeeded }) => succeeded === 50)).succeeded;
    units += watch.units();
  };
  const scrub = () => tick('scrubber', ({ failed, succeeded }) => failed === 0 && succeeded > 0);
  const idle = () => tick('replicator', ({ outcome }) => outcome === 'empty');
  // What a process loads once, and the compiler's warming up, are not of any number of objects.
  await put();
  await copy();
  for (let i = 0; i < 3; i += 1) await scrub();
  for (let i = 0; i < 5; i += 1) await idle();
  [copies, units] = [0, 0];
  const measured = {
    idle: await median(watch, 9, idle),
    copied: await median(watch, 5, copy, put),
    scrubbed: await median(watch, 5, scrub),
  };
  await client.close();
  return { ...measured, unitsEach: units / copies };
}

function told({ idle, copied, scrubbed, unitsEach }: Growth): string {
  const one = ({ ms, cpuMs, calls }: Measured) => `${ms.toFixed(1)} ms (CPU ${cpuMs.toFixed(1)} ms: ${calls})`;
  return (
    `an idle tick ${one(idle)}; 50 new copies ${one(copied)}, ${unitsEach.toFixed(2)} write units each; ` +
    `a tick of the scrubber ${one(scrubbed)}`
  );
}

/** The most objects against the fewest. */
function targetsOf(totals: readonly number[], measured: readonly Growth[]): Target[] {
  const [first, last] = [measured[0]!, measured.at(-1)!];
  const kinds = [
    ['idle', 'an idle tick'],
    ['copied', '50 new copies'],
    ['scrubbed', 'a tick of the scrubber'],
  ] as const;
  return kinds.map(([kind, what]) => ({
    what: `${what} at ${totals.at(-1)} objects: time, of that at ${totals[0]}`,
    seen: last[kind].ms / first[kind].ms,
    bound: { atMost: 1.5 },
  }));
}

async function median(
  watch: GrowthDeps['watch'],
  runs: number,
  run: () => Promise<unknown>,
  before: () => Promise<void> = async () => {},
): Promise<Measured> {
  const all: { readonly ms: number; readonly cpuMs: number }[] = [];
  for (let i = 0; i < runs; i += 1) {
    await before();
    watch.reset();
    const [startedAt, cpu] = [performance.now(), process.cpuUsage()];
    await run();
    const { user, system } = process.cpuUsage(cpu);
    all.push({ ms: performance.now() - startedAt, cpuMs: (user + system) / 1000 });
  }
  const middle = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(runs / 2)]!;
  return { ms: middle(all.map(({ ms }) => ms)), cpuMs: middle(all.map(({ cpuMs }) => cpuMs)), calls: watch.told(1) };
}

/**
 * Straight into the file of the embedded DynamoDB, as it would have written them: its protocol takes 25 at a time, a million
 * for ten minutes. Returns the totals that go with them, as `commit` would leave them.
 */
function fillTables(path: string, from: number, to: number): LedgerDelta {
  const table = 'holdfast-objects';
  const ledger = newLedgerDelta();
  const ids = idsFrom(systemClock, Math.random);
  const database = new DatabaseSync(path);
  database.exec('PRAGMA synchronous = OFF');
  const item = database.prepare(`INSERT INTO "${table}" (pk, item_json, item_size) VALUES (?, ?, ?)`);
  const index = (name: string) =>
    database.prepare(`INSERT INTO "${table}::gsi::${name}" (gsi_pk, gsi_sk, table_pk, item_json) VALUES (?, ?, ?, ?)`);
  const [byPlacement, byKey] = [index('by-placement'), index('by-key')];
  database.exec('BEGIN');
  for (let i = from; i < to; i += 1) {
    const record = recordOf(ids, `fill/${String(i).padStart(8, '0')}`);
    const attributes = marshall(entryToItem(record), marshallOptions);
    const text = JSON.stringify(attributes);
    const key = `S:${record.key}`;
    item.run(key, text, text.length);
    byPlacement.run(`S:${attributes.placement!.S}`, key, key, text);
    byKey.run(`S:${attributes.shard!.S}`, key, key, JSON.stringify({ shard: attributes.shard, key: attributes.key }));
    ledger.record(record, 1);
  }
  database.exec('COMMIT');
  database.close();
  return ledger;
}

async function write(deps: HoldfastProcess, ledger: LedgerDelta): Promise<void> {
  const rows = ledger.rows(0, () => 0, new Map());
  const answer = await deps.store.transact(rows, deps.ids.ulid());
  if (answer.outcome !== 'done') throw new Error('Totals were not written');
}

function recordOf(ids: Ids, key: string): ObjectRecord {
  const generation = ids.ulid();
  const copies = { 'local-1': generation, 'local-2': generation };
  const fixed = { kind: 'object', key, generation, rev: 1, sizeBytes: 0, createdAt: 0, sha256: emptySha256 } as const;
  return { ...fixed, headersSha256: nothingBeside, copies, policy: 'default', condition: 'sound' };
}

const nothingBeside = headersDigest({}, {});
const emptySha256 = hash('sha256', '');

function watched(store: Store) {
  let calls: Record<string, number> = {};
  let writeUnits = 0;
  return {
    store: new Proxy(store, {
      get(target, name, receiver) {
        const method = Reflect.get(target, name, receiver) as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          calls[String(name)] = (calls[String(name)] ?? 0) + 1;
          const answer = await method.apply(target, args);
          if (name === 'transact') writeUnits += (answer as { writeUnits?: number }).writeUnits ?? 0;
          return answer;
        };
      },
    }) as Store,
    reset() {
      calls = {};
      writeUnits = 0;
    },
    units: () => writeUnits,
    told: (ticks: number) =>
      Object.entries(calls)
        .map(([name, n]) => `${n / ticks} × ${name}`)
        .join(', '),
  };
}
