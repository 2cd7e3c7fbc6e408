/**
 * `npm run bench:puts -- [puts] [<ms of S3>,<ms of DynamoDB>]`: how long a put on one backend takes, and one on two or three.
 * Tables and backends are in memory and answer after the given times: what is measured is how many requests wait for one
 * another.
 */
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { silentLog } from '../../lib/base/log.ts';
import { createClient } from '../../lib/client/client.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { hooked } from '../support/fleet.ts';
import { parseLatency } from './latency.ts';

const puts = Number(process.argv[2] ?? 100);
const latency = parseLatency(process.argv[3] ?? '30,5')!;
const names = ['a', 'b', 'c'];
const file = parseFleetFile({
  backends: names.map((name) => ({
    name,
    endpoint: `https://${name}.test`,
    bucket: `bucket-${name}`,
    credentials: 'role',
  })),
  policies: { default: { factor: 3 } },
});
const after = (ms: number) => () => systemClock.sleep(ms);
const nothing = () => undefined;
const backends = new Map(
  names.map((name) => {
    const memory = createMemoryBackend({ name, clock: systemClock });
    return [name, hooked(name, memory, () => after(latency.s3Ms), nothing)] as const;
  }),
);
const store = hooked('store', createMemoryStore({ clock: systemClock }), () => after(latency.dynamodbMs), nothing);
const deps = {
  store,
  clock: systemClock,
  ids: createIds(systemClock),
  log: silentLog,
  env: {},
  openBackend: async ({ name }: { readonly name: string }) => backends.get(name)!,
  findCapabilities: async () => ({}),
};
await apply(deps, file);
const client = createClient(deps);
await client.put('first', 'opens what is opened once');
for (const copies of [1, 2, 3]) {
  const times: number[] = [];
  for (let i = 0; i < puts; i += 1) {
    const startedAt = performance.now();
    await client.put(`k${i}`, 'x'.repeat(4096), { copies });
    times.push(performance.now() - startedAt);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))]!.toFixed(1);
  process.stdout.write(`copies ${copies}: median ${at(0.5)} ms, 95 % within ${at(0.95)} ms\n`);
}
await client.close();
