import { defined } from '../../base/defined.ts';
import { byKeyIndex, byPlacementIndex, dueIndex, type TableNames } from '../../config/tables.ts';
import type { ObjectRecord, QueueItem } from '../model.ts';
import { type Page, StoreError } from '../port.ts';
import type { Item } from './attributes.ts';
import { entryOf, queueItemOf, textOf } from './items.ts';
import { query, type ReadDeps } from './reads.ts';

/** One page of a partition of `by-placement`. */
export async function readByPlacement(
  deps: ReadDeps,
  tables: TableNames,
  range: KeyRange,
): Promise<Page<ObjectRecord>> {
  const page = await queryKeys(deps, tables.objects, byPlacementIndex, 'placement', range);
  const items = page.items.map((item) => {
    const entry = entryOf(item, tables.objects);
    if (entry.kind === 'object') return entry;
    throw new StoreError('malformed', `Tombstone "${entry.key}" of table "${tables.objects}" has a placement`);
  });
  return pageOf(items, page.last && items.at(-1)?.key);
}

/** One page of keys of a partition of `by-key`. */
export async function readByKey(deps: ReadDeps, tables: TableNames, range: KeyRange): Promise<Page<string>> {
  const page = await queryKeys(deps, tables.objects, byKeyIndex, 'shard', range);
  const keys = page.items.map((item) => textOf(item, 'key', tables.objects));
  return pageOf(keys, page.last && keys.at(-1));
}

interface KeyRange {
  readonly partition: string;
  readonly afterKey: string | undefined;
  readonly limit: number;
}

async function queryKeys(deps: ReadDeps, table: string, index: string, attribute: string, range: KeyRange) {
  const isFirst = range.afterKey === undefined;
  return query(deps, `query "${range.partition}" of index "${index}"`, {
    TableName: table,
    IndexName: index,
    Limit: range.limit,
    KeyConditionExpression: isFirst ? '#partition = :partition' : '#partition = :partition AND #key > :after',
    ExpressionAttributeNames: { '#partition': attribute, ...(!isFirst && { '#key': 'key' }) },
    ExpressionAttributeValues: {
      ':partition': range.partition,
      ...defined({ ':after': range.afterKey }),
    },
  });
}

/** One page of the items of a lane that are due; `after` is the `next` of the page before. */
export async function readDue(
  deps: ReadDeps,
  tables: TableNames,
  request: { lane: string; dueBefore: number; limit: number; after: string | undefined },
): Promise<Page<QueueItem>> {
  const page = await query(deps, `query "${request.lane}" of index "${dueIndex}"`, {
    TableName: tables.queue,
    IndexName: dueIndex,
    Limit: request.limit,
    KeyConditionExpression: '#lane = :lane AND #dueAt <= :dueBefore',
    ExpressionAttributeNames: { '#lane': 'lane', '#dueAt': 'dueAt' },
    ExpressionAttributeValues: { ':lane': request.lane, ':dueBefore': request.dueBefore },
    ...startingAt(request.lane, request.after),
  });
  const items = page.items.map((item) => queueItemOf(item, tables.queue));
  const last = items.at(-1);
  return pageOf(items, page.last && last && `${last.dueAt}/${last.id}`);
}

/**
 * One page of the ids of an object's items in a lane. DynamoDB looks through as much as it reads at once, 1 MiB, and sends what
 * is found: of other objects nothing comes here. `after` is the `next` of the page before.
 */
export async function readQueuedOf(
  deps: ReadDeps,
  tables: TableNames,
  request: { lane: string; key: string; after: string | undefined },
): Promise<Page<string>> {
  const page = await query(deps, `query "${request.lane}" of index "${dueIndex}"`, {
    TableName: tables.queue,
    IndexName: dueIndex,
    KeyConditionExpression: '#lane = :lane',
    FilterExpression: '#key = :key',
    ProjectionExpression: '#id',
    ExpressionAttributeNames: { '#lane': 'lane', '#key': 'key', '#id': 'id' },
    ExpressionAttributeValues: { ':lane': request.lane, ':key': request.key },
    ...startingAt(request.lane, request.after),
  });
  const ids = page.items.map((item) => textOf(item, 'id', tables.queue));
  return pageOf(ids, page.last && `${Number(page.last.dueAt)}/${textOf(page.last, 'id', tables.queue)}`);
}

function startingAt(lane: string, after: string | undefined) {
  return defined({ ExclusiveStartKey: after === undefined ? undefined : positionInLane(lane, after) });
}

/** `<dueAt>/<id>` as a key of the index: many items may be due in the same millisecond. */
function positionInLane(lane: string, after: string): Item {
  const at = after.indexOf('/');
  return { lane, dueAt: Number(after.slice(0, at)), id: after.slice(at + 1) };
}

function pageOf<T>(items: readonly T[], next: string | undefined): Page<T> {
  return next === undefined ? { items } : { items, next };
}
