import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { defaultTableNames } from '../../lib/config/tables.ts';
import { type LocalDynamo, startDynamo } from '../../lib/local/dynamodb.ts';
import { commit } from '../../lib/store/commit.ts';
import { createDynamoClient } from '../../lib/store/dynamodb/client.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { createDynamoStore } from '../../lib/store/dynamodb/dynamo-store.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import type { Store } from '../../lib/store/port.ts';

let dynamo: LocalDynamo;
let store: Store;
const ids = createIds(systemClock);

beforeAll(async () => {
  dynamo = await startDynamo();
  const client = createDynamoClient({
    endpoint: dynamo.endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'x', secretAccessKey: 'y' },
  });
  await createTables(client, defaultTableNames, systemClock);
  store = createDynamoStore({ client, tables: defaultTableNames, clock: systemClock, ids });
});

afterAll(() => dynamo.close());

/** A record as the library writes it, with a key just under 100 bytes. */
function recordOf(i: number): ObjectRecord {
  const key = `photos/2026/${String(i).padStart(4, '0')}/`.padEnd(99, 'x');
  const copies = { 'backblaze-b2': ids.ulid() };
  return {
    kind: 'object',
    key,
    generation: ids.ulid(),
    rev: 0,
    sizeBytes: 100_000,
    createdAt: systemClock.now(),
    sha256: 'f'.repeat(64),
    copies,
    policy: 'default',
    condition: 'sound',
  };
}

test('recording copies in batches of 50 costs at most 4.5 write units per object, ledger and quota included [copies-cost-little]', async () => {
  let units = 0;
  const counting: Store = {
    ...store,
    transact: async (changes, token) => {
      const answer = await store.transact(changes, token);
      if (answer.outcome === 'done') units += answer.writeUnits;
      return answer;
    },
  };
  const deps = { store: counting, clock: systemClock, ids, stripes: 8, quotaOf: () => 10 * 2 ** 30 };
  const deadline = systemClock.now() + 60_000;
  const records = Array.from({ length: 200 }, (_, i) => recordOf(i));
  const created = await commit(
    deps,
    records.map((after) => ({ key: after.key, change: { before: null, after } })),
    deadline,
  );
  expect(created.every(({ outcome }) => outcome === 'committed')).toBe(true);
  units = 0;
  for (let at = 0; at < records.length; at += 50) {
    const batch = records.slice(at, at + 50).map((before) => {
      const seen = { ...before, rev: 1 };
      return {
        key: before.key,
        change: { before: seen, after: { ...seen, copies: { ...seen.copies, 'cloudflare-r2': ids.ulid() } } },
      };
    });
    const outcomes = await commit(deps, batch, deadline);
    expect(outcomes.every(({ outcome }) => outcome === 'committed')).toBe(true);
  }
  process.stdout.write(`write units per recorded copy: ${(units / records.length).toFixed(2)}\n`);
  expect(units).toBeGreaterThan(0);
  expect(units / records.length).toBeLessThanOrEqual(4.5);
});
