import { defined } from '../../base/defined.ts';
import type { TableNames } from '../../config/tables.ts';
import type { Change, QueueChange, QueueEnd, Refusal, RowChange, RowEnd } from '../port.ts';
import type { Item } from './attributes.ts';
import { countOf, entryOf, entryToItem, isCounter, queueItemOf, queueItemToItem, rowOf } from './items.ts';
import type { TransactionItem } from './transactions.ts';

type Put = NonNullable<TransactionItem['Put']>;
type Delete = NonNullable<TransactionItem['Delete']>;
type Update = NonNullable<TransactionItem['Update']>;

/** What a request says about its condition. */
interface Condition {
  ConditionExpression: string;
  ExpressionAttributeNames: Record<string, string>;
  ExpressionAttributeValues?: Item;
}

/** A change as one action of a request; a refused one returns the item that was in its way. */
export function actionOf(change: Change, tables: TableNames): TransactionItem {
  switch (change.kind) {
    case 'add':
      return { Update: additionOf(change, tables) };
    case 'object': {
      const condition = change.expect === 'absent' ? absent('key') : equal(versionOf(change.expect));
      return { Put: { TableName: tables.objects, Item: entryToItem(change.put), ...condition, ...returningSeen } };
    }
    case 'add-end':
      return {
        Delete: { ...controlKey(change, tables), ...equal({ ...change.expect }), ...returningSeen },
      };
    default: {
      const { put, end } = simpleActionOf(change, tables);
      return put ? { Put: put } : { Delete: end };
    }
  }
}

/** A change that may also be written by itself: exactly one of a put and a delete. */
export function simpleActionOf(
  change: QueueChange | QueueEnd | RowChange | RowEnd,
  tables: TableNames,
): { put: Put; end?: never } | { put?: never; end: Delete } {
  switch (change.kind) {
    case 'queue': {
      const condition = change.expect === 'absent' ? absent('id') : equal(change.expect);
      return {
        put: { TableName: tables.queue, Item: queueItemToItem(change.put), ...condition, ...returningSeen },
      };
    }
    case 'queue-end':
      return {
        end: { TableName: tables.queue, Key: { id: change.id }, ...equal(change.expect), ...returningSeen },
      };
    case 'row': {
      const condition = change.expect === 'absent' ? absent('pk') : equal({ version: change.expect });
      return { put: { TableName: tables.control, Item: { ...change.put }, ...condition, ...returningSeen } };
    }
    case 'row-end':
      return { end: { ...controlKey(change, tables), ...equal({ version: change.expect }), ...returningSeen } };
  }
}

/** The table that a change is about. */
export function tableOf(change: Change, tables: TableNames): string {
  switch (change.kind) {
    case 'object':
      return tables.objects;
    case 'queue':
    case 'queue-end':
      return tables.queue;
    default:
      return tables.control;
  }
}

/** The refusal of a change whose condition failed, with what its table holds there. */
export function refusalOf(change: Change, seen: Item | undefined, tables: TableNames): Refusal {
  const table = tableOf(change, tables);
  switch (change.kind) {
    case 'object':
      return { cause: 'object', seen: seen ? entryOf(seen, table) : null };
    case 'queue':
    case 'queue-end':
      return { cause: 'queue', seen: seen ? queueItemOf(seen, table) : null };
    case 'add':
    case 'add-end':
      return { cause: 'counter', seen: seen && isCounter(seen) ? countOf(seen, table) : null };
    case 'row':
    case 'row-end':
      return { cause: 'row', seen: seen ? rowOf(seen, table) : null };
  }
}

const returningSeen = { ReturnValuesOnConditionCheckFailure: 'ALL_OLD' } as const;

function additionOf(change: Change & { kind: 'add' }, tables: TableNames): Update {
  const { objects, bytes } = change.add;
  const values = { ':objects': objects, ':bytes': bytes };
  const update = {
    ...controlKey(change, tables),
    UpdateExpression: 'ADD #objects :objects, #bytes :bytes',
    ExpressionAttributeNames: { '#objects': 'objects', '#bytes': 'bytes' },
    ExpressionAttributeValues: values,
    ...returningSeen,
  };
  const { atMostBytes, atMostObjects } = change;
  if (atMostBytes !== undefined)
    return onCondition(update, 'attribute_not_exists(#pk) OR #bytes <= :atMost', atMostBytes);
  if (atMostObjects === undefined) return update;
  // What is absent holds none, and equals nothing in an expression.
  const isMetByNone = atMostObjects >= 0 ? 'attribute_not_exists(#pk) OR ' : '';
  return onCondition(update, `${isMetByNone}#objects <= :atMost`, atMostObjects);
}

function onCondition(update: Update, condition: string, atMost: number): Update {
  const names = condition.includes('#pk') ? { '#pk': 'pk' } : {};
  return {
    ...update,
    ConditionExpression: condition,
    ExpressionAttributeNames: { ...update.ExpressionAttributeNames, ...names },
    ExpressionAttributeValues: { ...update.ExpressionAttributeValues, ':atMost': atMost },
  };
}

function controlKey(row: { readonly pk: string; readonly sk: string }, tables: TableNames) {
  return { TableName: tables.control, Key: { pk: row.pk, sk: row.sk } };
}

function versionOf({ generation, rev }: { readonly generation: string; readonly rev: number }) {
  return { generation, rev };
}

function absent(keyAttribute: string): Condition {
  return {
    ConditionExpression: `attribute_not_exists(#${keyAttribute})`,
    ExpressionAttributeNames: { [`#${keyAttribute}`]: keyAttribute },
  };
}

/** Every field given is compared; a missing item or attribute equals nothing. */
function equal(fields: object): Condition {
  const given = Object.entries(defined(fields));
  const names = given.map(([name]) => name);
  return {
    ConditionExpression: names.map((name) => `#${name} = :${name}`).join(' AND '),
    ExpressionAttributeNames: Object.fromEntries(names.map((name) => [`#${name}`, name])),
    ExpressionAttributeValues: Object.fromEntries(given.map(([name, value]) => [`:${name}`, value])),
  };
}
