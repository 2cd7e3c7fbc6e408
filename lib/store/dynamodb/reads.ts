import { BatchGetCommand, QueryCommand, type QueryCommandInput } from '@aws-sdk/lib-dynamodb';
import type { Clock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import type { Ids } from '../../base/ids.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { StoreError } from '../port.ts';
import type { Item } from './attributes.ts';
import type { Connection } from './connection.ts';

export interface ReadDeps {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly ids: Ids;
}

/** DynamoDB's limit for one BatchGetItem. */
const batchSize = 100;
const concurrentBatches = 8;
const attemptsWithoutProgress = 8;

/** Reads items consistently by their distinct keys, in no order. */
export async function batchGet(deps: ReadDeps, table: string, keys: readonly Item[]): Promise<Item[]> {
  const found: Item[] = [];
  const chunks: Item[][] = [];
  for (let at = 0; at < keys.length; at += batchSize) chunks.push(keys.slice(at, at + batchSize));
  await forEachConcurrently(chunks, concurrentBatches, async (chunk) => {
    for await (const items of batches(deps, table, chunk)) found.push(...items);
  });
  return found;
}

/** An answer may leave keys out, when it is full or when the table is busy: those are asked for again. */
async function* batches(deps: ReadDeps, table: string, chunk: Item[]): AsyncIterable<Item[]> {
  const action = { doing: `read ${chunk.length} items of "${table}"`, tables: [table] };
  let left = chunk;
  for (let attempt = 0; left.length > 0; attempt += 1) {
    if (attempt === attemptsWithoutProgress) {
      throw new StoreError('throttled', `Cannot ${action.doing}: DynamoDB keeps leaving ${left.length} of them out`);
    }
    if (attempt > 0) await deps.clock.sleep(backoffMs(attempt, deps.ids));
    const request = { RequestItems: { [table]: { Keys: left, ConsistentRead: true } } };
    const { documents } = deps.connection;
    const answer = await deps.connection.attempt(action, () => documents.send(new BatchGetCommand(request)));
    const items = answer.Responses?.[table] ?? [];
    if (items.length > 0) attempt = 0;
    yield items;
    left = answer.UnprocessedKeys?.[table]?.Keys ?? [];
  }
}

/** Full jitter over 50 ms, doubled per attempt, at most 2 s. */
export function backoffMs(attempt: number, ids: Ids): number {
  return ids.random() * Math.min(50 * 2 ** attempt, 2_000);
}

/** A partition of the Control table, or a part of it: both ends are in it. */
export interface Partition {
  readonly pk: string;
  readonly from?: string;
  readonly to?: string;
}

/** Every item of one partition, in order of the sort key, read consistently. */
export async function queryAll(deps: ReadDeps, table: string, partition: Partition): Promise<Item[]> {
  const { pk, from, to } = partition;
  const isPart = from !== undefined && to !== undefined;
  const items: Item[] = [];
  let start: Item | undefined;
  do {
    const page = await query(deps, `read "${pk}"`, {
      TableName: table,
      ConsistentRead: true,
      KeyConditionExpression: isPart ? '#pk = :pk AND #sk BETWEEN :from AND :to' : '#pk = :pk',
      ExpressionAttributeNames: { '#pk': 'pk', ...(isPart && { '#sk': 'sk' }) },
      ExpressionAttributeValues: { ':pk': pk, ...(isPart && { ':from': from, ':to': to }) },
      ...defined({ ExclusiveStartKey: start }),
    });
    items.push(...page.items);
    start = page.last;
  } while (start);
  return items;
}

/** One page of a query; `last` when there may be more. */
export async function query(
  deps: ReadDeps,
  doing: string,
  input: QueryCommandInput & { TableName: string },
): Promise<{ items: Item[]; last: Item | undefined }> {
  const action = { doing: `${doing} in "${input.TableName}"`, tables: [input.TableName] };
  const { documents } = deps.connection;
  const answer = await deps.connection.attempt(action, () => documents.send(new QueryCommand(input)));
  return { items: answer.Items ?? [], last: answer.LastEvaluatedKey };
}
