import {
  CreateTableCommand,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  GetItemCommand,
  type GetItemCommandInput,
  PutItemCommand,
} from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import type { TableNames } from '../../lib/config/tables.ts';
import { type LocalDynamo, startDynamo } from '../../lib/local/dynamodb.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { lane, shardOf } from '../../lib/store/keys.ts';
import type { Change, Store } from '../../lib/store/port.ts';
import * as fixtures from '../contracts/store-fixtures.ts';
import { localClient, newTableNames, storeOn } from '../contracts/store-on-dynamodb.ts';
import { inMonth } from '../support/usage.ts';

const { attempt, generation, given, item, putItem, putObject, record, tombstone } = fixtures;

let dynamo: LocalDynamo;
let client: DynamoDBClient;
beforeAll(async () => {
  dynamo = await startDynamo();
  client = localClient(dynamo.endpoint);
});
afterAll(async () => {
  client.destroy();
  await dynamo.close();
});

async function fresh(): Promise<{ store: Store; tables: TableNames }> {
  const tables = newTableNames();
  await createTables(client, tables, systemClock);
  return { store: storeOn(client, tables), tables };
}

test('tables are created once, also by two processes at once, and expire tombstones', async () => {
  const tables = newTableNames();
  await Promise.all([createTables(client, tables, systemClock), createTables(client, tables, systemClock)]);
  await given(storeOn(client, tables), putObject(record('a')));
  await createTables(client, tables, systemClock);
  expect(await fixtures.objectAt(storeOn(client, tables), 'a')).toEqual(record('a'));
  const ttl = await client.send(new DescribeTimeToLiveCommand({ TableName: tables.objects }));
  expect(ttl.TimeToLiveDescription).toMatchObject({ TimeToLiveStatus: 'ENABLED', AttributeName: 'ttl' });
});

test('a table of that name that is not ours is refused', async () => {
  const tables = newTableNames();
  await client.send(
    new CreateTableCommand({
      TableName: tables.queue,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
      KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    }),
  );
  await expect(createTables(client, tables, systemClock)).rejects.toMatchObject({
    kind: 'rejected',
    message: expect.stringContaining(`"${tables.queue}": it has no index "due"`),
  });
});

test('a missing table is named, with the command that creates it', async () => {
  const tables = newTableNames();
  const store = storeOn(client, tables);
  const missing = (table: string) => ({
    kind: 'missing-table',
    message: expect.stringMatching(new RegExp(`"${table}".*run \`holdfast init\``)),
  });
  await expect(store.identity()).rejects.toMatchObject(missing(tables.objects));
  await expect(store.objects(['a'])).rejects.toMatchObject(missing(tables.objects));
  await expect(store.queueItems(['a'])).rejects.toMatchObject(missing(tables.queue));
  await expect(store.control('fleet')).rejects.toMatchObject(missing(tables.control));
  await expect(store.byKey('00', undefined, 1)).rejects.toMatchObject(missing(tables.objects));
  await expect(store.due('cleanup/b2/00', 1, 1)).rejects.toMatchObject(missing(tables.queue));
  await expect(store.write(putItem(item('a')))).rejects.toMatchObject(missing(tables.queue));
  await expect(store.usage(inMonth('2024-01'), ['b2'])).rejects.toMatchObject(missing(tables.control));
  const request = { worker: 'w', part: '0/1', holder: 'h', now: 0, expiresAt: 1 };
  await expect(store.acquireLease(request)).rejects.toMatchObject(missing(tables.control));
  await expect(attempt(store, putObject(record('a')))).rejects.toMatchObject(missing(tables.objects));
  const both = attempt(store, putObject(record('a')), putItem(item('a')));
  await expect(both).rejects.toMatchObject(missing(`${tables.objects}", "${tables.queue}`));
});

const objectItem = {
  key: { S: 'a' },
  generation: { S: 'g' },
  rev: { N: '1' },
  sizeBytes: { N: '1' },
  createdAt: { N: '1' },
  copies: { M: { b2: { S: 'x' } } },
  placement: { S: `default/${shardOf('a')}/b2` },
  shard: { S: shardOf('a') },
};

test.each([
  ['rev', { rev: { S: 'one' } }],
  ['sizeBytes', { sizeBytes: { N: '9007199254740993' } }],
  ['copies', { copies: { L: [] } }],
  ['copies', { copies: { M: { b2: { N: '1' } } } }],
  ['placement', { placement: { S: 'default' } }],
  ['sha256', { sha256: { NULL: true } }],
  ['plainEtags', { plainEtags: { SS: ['x'] } }],
  ['encryption.keyId', { encryption: { M: { plaintextSha256: { S: 'x' }, plaintextBytes: { N: '1' } } } }],
])('a malformed object is reported with table, key and attribute %s', async (attribute, wrong) => {
  const { store, tables } = await fresh();
  await client.send(new PutItemCommand({ TableName: tables.objects, Item: { ...objectItem, ...wrong } }));
  const malformed = {
    kind: 'malformed',
    message: expect.stringMatching(new RegExp(`"a" of table "${tables.objects}".*"${attribute}"`)),
  };
  await expect(store.objects(['a'])).rejects.toMatchObject(malformed);
  await expect(attempt(store, putObject(record('a')))).rejects.toMatchObject(malformed);
  await expect(store.byKey(shardOf('a'), undefined, 2)).resolves.toEqual({ items: ['a'] });
});

test('malformed tombstones, queue items, rows and leases are reported too', async () => {
  const { store, tables } = await fresh();
  const put = (TableName: string, Item: PutItemCommand['input']['Item']) =>
    client.send(new PutItemCommand({ TableName, Item }));
  await put(tables.objects, { key: { S: 'a' }, generation: { S: 'g' }, rev: { N: '1' } });
  await put(tables.queue, { id: { S: 'b2/a' }, lane: { S: 'later/b2/00' }, dueAt: { N: '1' }, state: { S: 'later' } });
  await put(tables.control, { pk: { S: 'fleet' }, sk: { S: 'x' }, version: { N: '1' }, data: { S: '{}' } });
  await put(tables.control, { pk: { S: 'lease/w' }, sk: { S: '0/1' }, holder: { S: 'h' }, epoch: { N: '1' } });
  const malformed = (text: string) => ({ kind: 'malformed', message: expect.stringContaining(text) });
  await expect(store.objects(['a'])).rejects.toMatchObject(malformed('attribute "deletedAt"'));
  await expect(store.due('later/b2/00', 1, 1)).rejects.toMatchObject(malformed('attribute "state"'));
  await expect(store.control('fleet')).rejects.toMatchObject(malformed('Item "fleet" / "x"'));
  await expect(store.leases('w')).rejects.toMatchObject(malformed('attribute "expiresAt"'));
});

test('what cannot be stored is rejected before it is sent', async () => {
  const { store } = await fresh();
  const put = { pk: 'fleet', sk: 'x', version: 1, data: { ratio: Number.NaN } };
  await expect(attempt(store, { kind: 'row', put, expect: 'absent' })).rejects.toMatchObject({ kind: 'rejected' });
});

test('items hold no attribute for what is absent, and tombstones none that an index holds', async () => {
  const { store, tables } = await fresh();
  await given(store, putObject(record('a')), putObject(tombstone('b')), putItem(item('a')));
  const attributesOf = async (TableName: string, Key: GetItemCommandInput['Key']) =>
    Object.keys((await client.send(new GetItemCommand({ TableName, Key }))).Item ?? {}).sort();
  expect(await attributesOf(tables.objects, { key: { S: 'a' } })).toEqual([
    'copies',
    'createdAt',
    'generation',
    'key',
    'placement',
    'rev',
    'shard',
    'sizeBytes',
  ]);
  expect(await attributesOf(tables.objects, { key: { S: 'b' } })).toEqual([
    'deletedAt',
    'generation',
    'key',
    'rev',
    'ttl',
  ]);
  const { id, ...rest } = item('a');
  expect(await attributesOf(tables.queue, { id: { S: id } })).toEqual(['id', 'lane', ...Object.keys(rest)].sort());
});

test('write units are those that DynamoDB documents, over tables and indexes', async () => {
  const { store } = await fresh();
  const units = async (...changes: Change[]) => {
    const answer = await attempt(store, ...changes);
    return answer.outcome === 'done' ? answer.writeUnits : answer;
  };
  // A transactional write costs 2 units per KB of the larger of the item before and after; each index entry that is
  // added, changed or removed costs 1, and a change of an index key 2.
  expect(await units(putObject(record('a')))).toBe(2 + 1 + 1);
  expect(await units(putObject(record('a', { rev: 2, copies: { b2: 'x' } }), { generation, rev: 1 }))).toBe(2 + 2);
  expect(await units(putObject(record('a', { rev: 3, copies: { b2: 'x' } }), { generation, rev: 2 }))).toBe(2 + 1);
  expect(await units(putObject(tombstone('a', { rev: 4 }), { generation, rev: 3 }))).toBe(2 + 1 + 1);
  expect(await units(putItem(item('a')))).toBe(2 + 1);
  expect(await units(putItem(item('a', { state: 'dead' }), { state: 'cleanup' }))).toBe(2 + 2);
  expect(await units({ kind: 'queue-end', id: item('a').id, expect: { state: 'dead' } })).toBe(2 + 1);
  expect(await units({ kind: 'add', pk: 'fleet', sk: 'x', add: { objects: 1, bytes: 1 } })).toBe(2);
  expect((await store.due(lane('dead', 'b2', shardOf('a')), 2e12, 1)).items).toEqual([]);
});
