import { BatchWriteItemCommand } from '@aws-sdk/client-dynamodb';
import { forEachConcurrently } from '../../lib/base/pool.ts';
import { createClient } from '../../lib/client/client.ts';
import type { ClientDeps } from '../../lib/client/context.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import type { Backend } from '../../lib/fleet/backend.ts';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess, type HoldfastProcess } from '../../lib/process/process.ts';
import { createDynamoClient } from '../../lib/store/dynamodb/client.ts';
import { entryToItem } from '../../lib/store/dynamodb/items.ts';
import { newLedgerDelta } from '../../lib/store/ledger.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import type { Store } from '../../lib/store/port.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickDeps, TickReport } from '../../lib/tick/tick.ts';
import { workers } from '../../lib/workers/workers.ts';

/**
 * What metadata costs as a fleet grows: records at their factor, whose bytes nobody has, in a DynamoDB in memory, for on a
 * disk it syncs each write; and a few new objects. Backends are in memory too: their requests cost elsewhere.
 */
export async function measureGrowth(totals: readonly number[], say: (line: string) => void): Promise<void> {
  const dynamo = await startDynamo();
  const access = { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'x' };
  const env = { AWS_ENDPOINT_URL_DYNAMODB: dynamo.endpoint, ...access };
  const holdfastProcess = createProcess({ env });
  try {
    await holdfastProcess.createTables();
    const watch = watched(holdfastProcess.store);
    const backends = new Map<string, Backend>(
      names.map((name) => [name, createMemoryBackend({ name, clock: holdfastProcess.clock })]),
    );
    const openBackend: HoldfastProcess['openBackend'] = async ({ name }) => backends.get(name)!;
    const deps = { ...holdfastProcess, store: watch.store, openBackend, findCapabilities: async () => ({}) };
    const at = (name: string) => ({ name, endpoint: `https://${name}.example.com`, bucket: name, credentials: 'role' });
    await apply(deps, parseFleetFile({ backends: names.map(at), policies: { default: { factor: 2 } } }));
    let existing = 0;
    for (const total of totals) {
      const filledAt = performance.now();
      await fill(holdfastProcess, env, existing, total);
      const fillS = (performance.now() - filledAt) / 1000;
      existing = total;
      say(`${total} objects (filled in ${fillS.toFixed(0)} s): ${await measureAt(deps, watch, total)}`);
    }
  } finally {
    await holdfastProcess.close();
    await dynamo.close();
  }
}

const names = ['local-1', 'local-2', 'local-3'];

async function measureAt(
  deps: TickDeps & ClientDeps,
  watch: ReturnType<typeof watched>,
  total: number,
): Promise<string> {
  const tick = (): Promise<TickReport> => runTick(deps, workers.replicator!, { deadline: Date.now() + 600_000 });
  await tick();
  watch.reset();
  const idle: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const startedAt = performance.now();
    const report = await tick();
    if (report.outcome !== 'empty') throw new Error(JSON.stringify(report));
    idle.push(performance.now() - startedAt);
  }
  const idleCalls = watch.told(5);
  const client = createClient(deps);
  for (let i = 0; i < 50; i += 1) await client.put(`grow/${total}/${i}`, new Uint8Array(100));
  await client.close();
  watch.reset();
  const startedAt = performance.now();
  const report = await tick();
  const ms = performance.now() - startedAt;
  return (
    `an idle tick ${idle.sort((a, b) => a - b)[2]!.toFixed(1)} ms and ${idleCalls}; ` +
    `${report.succeeded} new copies ${ms.toFixed(0)} ms, ${(watch.units() / report.succeeded).toFixed(2)} write units each, ${watch.told(1)}`
  );
}

type DynamoEnv = Record<
  'AWS_ENDPOINT_URL_DYNAMODB' | 'AWS_REGION' | 'AWS_ACCESS_KEY_ID' | 'AWS_SECRET_ACCESS_KEY',
  string
>;

/** Straight into the tables, with the totals that go with it: as `commit` would leave them, without its transactions. */
async function fill(holdfastProcess: HoldfastProcess, env: DynamoEnv, from: number, to: number): Promise<void> {
  const credentials = { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY };
  const endpoint = env.AWS_ENDPOINT_URL_DYNAMODB;
  const client = createDynamoClient({ endpoint, region: env.AWS_REGION, credentials });
  const ledger = newLedgerDelta();
  const batches = Array.from({ length: Math.ceil((to - from) / 25) }, (_, i) => from + i * 25);
  await forEachConcurrently(batches, 8, async (at) => {
    const records = Array.from({ length: Math.min(25, to - at) }, (_, i) =>
      recordOf(holdfastProcess, `fill/${at + i}`),
    );
    const requests = records.map((record) => ({ PutRequest: { Item: entryToItem(record) } }));
    const batch = new BatchWriteItemCommand({ RequestItems: { [holdfastProcess.tables.objects]: requests } });
    const { UnprocessedItems } = await client.send(batch);
    if (Object.keys(UnprocessedItems ?? {}).length > 0) throw new Error('Records were not written');
    for (const record of records) ledger.record(record, 1);
  });
  client.destroy();
  const answer = await holdfastProcess.store.transact(
    ledger.rows(0, () => 0, new Map()),
    holdfastProcess.ids.ulid(),
  );
  if (answer.outcome !== 'done') throw new Error('Totals were not written');
}

function recordOf({ ids }: HoldfastProcess, key: string): ObjectRecord {
  const generation = ids.ulid();
  const copies = { 'local-1': generation, 'local-2': generation };
  const fixed = { kind: 'object', key, generation, rev: 1, sizeBytes: 0, createdAt: 0, sha256: '' } as const;
  return { ...fixed, copies, policy: 'default', condition: 'sound' };
}

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
