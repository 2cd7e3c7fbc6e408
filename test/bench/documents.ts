/**
 * `npm run bench:documents`: what the store costs beside the document client of `@aws-sdk/lib-dynamodb` alone: CPU of a
 * transaction of 40 records and of a page of 200, whose answers are made up, and what the document client adds to a bundle.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, QueryCommand, TransactWriteCommand } from '@aws-sdk/lib-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';
import { bundle } from '../../infra/bundle.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { idsFrom } from '../../lib/base/ids.ts';
import { marshallOptions } from '../../lib/store/dynamodb/attributes.ts';
import { createDynamoStore } from '../../lib/store/dynamodb/dynamo-store.ts';
import { entryToItem } from '../../lib/store/dynamodb/items.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';

const rounds = Number(process.argv[2] ?? 7);
const each = 200;
const ids = idsFrom(systemClock, Math.random);
const tables = { objects: 'holdfast-objects', queue: 'holdfast-queue', control: 'holdfast-control' };
const records = Array.from({ length: 200 }, (_, i) => recordOf(i));
const documents = records.map(entryToItem);
const items = documents.map((item) => marshall(item, marshallOptions));
const page = JSON.stringify({ Items: items, Count: items.length, ScannedCount: items.length });

/** A client that is answered without a network. */
function answered(body: string): DynamoDBClient {
  const headers = { 'content-type': 'application/x-amz-json-1.0' };
  const handle = async () => ({ response: { statusCode: 200, headers, body: Readable.from([Buffer.from(body)]) } });
  const requestHandler = { handle, updateHttpClientConfig: () => {}, httpHandlerConfigs: () => ({}) };
  const credentials = { accessKeyId: 'x', secretAccessKey: 'x' };
  return new DynamoDBClient({ region: 'us-east-1', credentials, requestHandler: requestHandler as never });
}

const storeOn = (body: string) => createDynamoStore({ client: answered(body), tables, clock: systemClock, ids });
const [writing, reading] = [storeOn('{}'), storeOn(page)];
const [writer, reader] = ['{}', page].map((body) =>
  DynamoDBDocumentClient.from(answered(body), { marshallOptions: { ...marshallOptions } }),
);
const group = records.slice(0, 40);
const works: Record<string, () => Promise<unknown>> = {
  'a transaction of 40 records, the store': () =>
    writing.transact(
      group.map((put) => ({ kind: 'object', put, expect: { generation: put.generation, rev: put.rev } })),
      ids.ulid(),
    ),
  'a transaction of 40 records, document client alone': () =>
    writer!.send(
      new TransactWriteCommand({
        ClientRequestToken: ids.ulid(),
        ReturnConsumedCapacity: 'TOTAL',
        TransactItems: documents.slice(0, 40).map((Item) => ({
          Put: {
            TableName: tables.objects,
            Item,
            ConditionExpression: '#generation = :generation AND #rev = :rev',
            ExpressionAttributeNames: { '#generation': 'generation', '#rev': 'rev' },
            ExpressionAttributeValues: { ':generation': Item.generation, ':rev': Item.rev },
            ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
          },
        })),
      }),
    ),
  'a page of 200 records, the store (checked by schema)': () => reading.byPlacement('default/00/a', undefined, 200),
  'a page of 200 records, document client alone (unchecked)': () =>
    reader!.send(
      new QueryCommand({
        TableName: tables.objects,
        IndexName: 'by-placement',
        Limit: 200,
        KeyConditionExpression: '#partition = :partition',
        ExpressionAttributeNames: { '#partition': 'placement' },
        ExpressionAttributeValues: { ':partition': 'default/00/a' },
      }),
    ),
};

const times = new Map(Object.keys(works).map((name): [string, number[]] => [name, []]));
for (let round = 0; round < rounds; round += 1) {
  for (const [name, work] of Object.entries(works)) {
    const before = process.cpuUsage();
    for (let i = 0; i < each; i += 1) await work();
    const { user, system } = process.cpuUsage(before);
    times.get(name)!.push((user + system) / 1000 / each);
  }
}
const say = (line: string) => process.stdout.write(`${line}\n`);
for (const [name, all] of times) {
  const median = all.toSorted((a, b) => a - b)[Math.floor(rounds / 2)]!;
  say(`${name.padEnd(52)} ${median.toFixed(2)} ms of CPU`);
}
const dir = mkdtempSync(join(tmpdir(), 'holdfast-documents-'));
for (const name of ['bare-clients', 'bare-document-client']) {
  const { coldBytes } = bundle(`test/bench/${name}.ts`, join(dir, name));
  say(`${name.padEnd(52)} ${coldBytes} bytes`);
}
rmSync(dir, { recursive: true, force: true });

function recordOf(i: number): ObjectRecord {
  const fixed = { kind: 'object', rev: 3, sizeBytes: 4096, createdAt: systemClock.now(), policy: 'default' } as const;
  return {
    ...fixed,
    condition: 'sound',
    key: `photos/2026/object-${i}.jpg`,
    generation: ids.ulid(),
    sha256: 'a'.repeat(64),
    headersSha256: 'b'.repeat(64),
    copies: { 'local-1': ids.ulid(), 'local-2': ids.ulid() },
  };
}
