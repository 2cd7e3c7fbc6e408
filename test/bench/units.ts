/**
 * `npm run bench:units -- [objects]`: what metadata costs per object, by worker: write units as the embedded DynamoDB
 * reports them, and requests. Backends are in memory: their requests cost elsewhere.
 */
import { systemClock } from '../../lib/base/clock.ts';
import { createClient } from '../../lib/client/client.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import type { Backend } from '../../lib/fleet/backend.ts';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess } from '../../lib/process/process.ts';
import type { Store } from '../../lib/store/port.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';

const objects = Number(process.argv[2] ?? 1000);
const dynamo = await startDynamo();
const access = { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'x' };
const tuning = { CLEANUP_QUEUE_GRACE_SECONDS: '0', RECONCILER_MIN_AGE_SECONDS: '0', SCRUBBER_BATCH_SIZE: '10000' };
const holdfastProcess = createProcess({
  env: { AWS_ENDPOINT_URL_DYNAMODB: dynamo.endpoint, ...access, ...tuning, ...process.env },
});
let calls: Record<string, number> = {};
let units = 0;
const store = new Proxy(holdfastProcess.store, {
  get(target, name, receiver) {
    const method = Reflect.get(target, name, receiver) as (...args: unknown[]) => Promise<unknown>;
    return async (...args: unknown[]) => {
      calls[String(name)] = (calls[String(name)] ?? 0) + 1;
      const answer = await method.apply(target, args);
      if (name === 'transact') units += (answer as { writeUnits?: number }).writeUnits ?? 0;
      return answer;
    };
  },
}) as Store;
const names = ['a', 'b', 'c'];
const backends = new Map<string, Backend>(
  names.map((name) => [name, createMemoryBackend({ name, clock: systemClock })]),
);
const deps = {
  ...holdfastProcess,
  store,
  openBackend: async ({ name }: { readonly name: string }) => backends.get(name)!,
  findCapabilities: async () => ({ listsInByteOrder: true }),
};
const file = parseFleetFile({
  backends: names.map((name) => ({
    name,
    endpoint: 'http://127.0.0.1:1',
    bucket: `bucket-${name}`,
    credentials: 'role',
  })),
  policies: { default: { factor: 2 } },
});

function tell(what: string): void {
  const requests = Object.entries(calls).map(([name, n]) => `${n} ${name}`);
  process.stdout.write(
    `${what.padEnd(28)} ${(units / objects).toFixed(2)} write units per object; ${requests.join(', ')}\n`,
  );
  calls = {};
  units = 0;
}

async function tick(name: keyof typeof workers, what: string): Promise<void> {
  const report = await runTick(deps, workers[name]!, { deadline: Date.now() + 600_000 });
  tell(`${what} (${report.outcome}, ${report.succeeded})`);
}

await holdfastProcess.createTables();
await apply(deps, file);
calls = {};
units = 0;
const client = createClient(deps);
const keys = Array.from({ length: objects }, (_, i) => `photos/2026/object-${String(i).padStart(8, '0')}.jpg`);
for (let at = 0; at < objects; at += 100)
  await Promise.all(keys.slice(at, at + 100).map((key) => client.put(key, `content of ${key}`)));
tell('put, 100 at once');
await tick('replicator', 'replicate');
await tick('replicator', 'idle replicator');
await tick('cleanup-queue', 'idle cleanup queue');
await tick('scrubber', 'scrub');
await tick('reconciler', 'reconcile');
await client.close();
await holdfastProcess.close();
await dynamo.close();
