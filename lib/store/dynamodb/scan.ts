import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { defined } from '../../base/defined.ts';
import type { Entry, QueueItem } from '../model.ts';
import type { Page } from '../port.ts';
import type { Item } from './attributes.ts';
import { entryOf, queueItemOf, textOf } from './items.ts';
import type { ReadDeps } from './reads.ts';

/** One page of the Objects table, read consistently. */
export async function scanEntries(
  deps: ReadDeps,
  table: string,
  after: string | undefined,
  limit: number,
): Promise<Page<Entry>> {
  const page = await scan(deps, table, after === undefined ? undefined : { key: after }, limit);
  const items = page.items.map((item) => entryOf(item, table));
  return page.last === undefined ? { items } : { items, next: textOf(page.last, 'key', table) };
}

/** One page of the Queue table, read consistently. */
export async function scanQueue(
  deps: ReadDeps,
  table: string,
  after: string | undefined,
  limit: number,
): Promise<Page<QueueItem>> {
  const page = await scan(deps, table, after === undefined ? undefined : { id: after }, limit);
  const items = page.items.map((item) => queueItemOf(item, table));
  return page.last === undefined ? { items } : { items, next: textOf(page.last, 'id', table) };
}

async function scan(
  { connection }: ReadDeps,
  table: string,
  start: Item | undefined,
  limit: number,
): Promise<{ items: Item[]; last: Item | undefined }> {
  const input = { TableName: table, ConsistentRead: true, Limit: limit, ...defined({ ExclusiveStartKey: start }) };
  const action = { doing: `read all of "${table}"`, tables: [table] };
  const answer = await connection.attempt(action, () => connection.documents.send(new ScanCommand(input)));
  return { items: answer.Items ?? [], last: answer.LastEvaluatedKey };
}
