import { ConditionalCheckFailedException, DescribeTableCommand, type DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import type { Clock } from '../../base/clock.ts';
import type { Ids } from '../../base/ids.ts';
import type { TableNames } from '../../config/tables.ts';
import type {
  Change,
  ControlPartition,
  QueueChange,
  RowChange,
  RowEnd,
  Store,
  TransactAnswer,
  WriteAnswer,
} from '../port.ts';
import { itemInError } from './attributes.ts';
import { connect } from './connection.ts';
import { actionOf, refusalOf, simpleActionOf, tableOf } from './expressions.ts';
import { readByKey, readByPlacement, readDue, readQueuedOf } from './indexes.ts';
import { countOf, entryOf, isCounter, queueItemOf, rowOf, textOf } from './items.ts';
import { createLeases } from './leases.ts';
import { batchGet, queryAll } from './reads.ts';
import { sendTransaction } from './transactions.ts';
import { createUsage } from './usage.ts';

export interface DynamoStoreDeps {
  readonly client: DynamoDBClient;
  readonly tables: TableNames;
  readonly clock: Clock;
  readonly ids: Ids;
}

/**
 * The store on DynamoDB. It translates typed changes to expressions and items to typed values, and decides nothing.
 * A write whose answer is lost is never sent again from here: it throws `unanswered`.
 */
export function createDynamoStore({ client, tables, clock, ids }: DynamoStoreDeps): Store {
  const connection = connect(client);
  const { documents } = connection;
  const deps = { connection, clock, ids };

  async function transact(changes: readonly Change[], token: string): Promise<TransactAnswer> {
    const touched = [...new Set(changes.map((change) => tableOf(change, tables)))];
    const action = { doing: `write ${changes.length} changes`, tables: touched };
    const items = changes.map((change) => actionOf(change, tables));
    const answer = await sendTransaction(deps, action, items, token);
    if (answer.outcome === 'done') return answer;
    const refusals = answer.actions.map((outcome, i) => {
      if (outcome === 'not-in-the-way') return null;
      return outcome === 'conflict' ? { cause: outcome } : refusalOf(changes[i]!, outcome.seen, tables);
    });
    return { outcome: 'refused', refusals };
  }

  async function write(change: QueueChange | RowChange | RowEnd): Promise<WriteAnswer> {
    const { put, end } = simpleActionOf(change, tables);
    const table = tableOf(change, tables);
    return connection.attempt({ doing: `write one change to "${table}"`, tables: [table] }, async () => {
      try {
        await (put ? documents.send(new PutCommand(put)) : documents.send(new DeleteCommand(end)));
        return { outcome: 'done' };
      } catch (error) {
        if (error instanceof ConditionalCheckFailedException) {
          return { outcome: 'refused', refusal: refusalOf(change, itemInError(error.Item), tables) };
        }
        // A transaction on the same item was under way.
        if (error instanceof Error && error.name === 'TransactionConflictException') {
          return { outcome: 'refused', refusal: { cause: 'conflict' } };
        }
        throw error;
      }
    });
  }

  async function control(pk: string): Promise<ControlPartition> {
    const items = await queryAll(deps, tables.control, { pk });
    return {
      counters: items
        .filter(isCounter)
        .map((item) => ({ sk: textOf(item, 'sk', tables.control), count: countOf(item, tables.control) })),
      rows: items.filter((item) => !isCounter(item)).map((item) => rowOf(item, tables.control)),
    };
  }

  async function identity(): Promise<string> {
    const action = { doing: `describe table "${tables.objects}"`, tables: [tables.objects] };
    const command = new DescribeTableCommand({ TableName: tables.objects });
    const { Table } = await connection.attempt(action, () => client.send(command));
    return `${Table?.TableArn} created ${Table?.CreationDateTime?.toISOString()}`;
  }

  return {
    identity,
    transact,
    write,
    objects: async (keys) => {
      const items = await batchGet(
        deps,
        tables.objects,
        distinct(keys).map((key) => ({ key })),
      );
      return new Map(items.map((item) => entryOf(item, tables.objects)).map((entry) => [entry.key, entry]));
    },
    queueItems: async (ids) => {
      const items = await batchGet(
        deps,
        tables.queue,
        distinct(ids).map((id) => ({ id })),
      );
      return new Map(items.map((item) => queueItemOf(item, tables.queue)).map((item) => [item.id, item]));
    },
    control,
    everyEntry: async (after, limit) => (await import('./scan.ts')).scanEntries(deps, tables.objects, after, limit),
    everyQueueItem: async (after, limit) => (await import('./scan.ts')).scanQueue(deps, tables.queue, after, limit),
    byPlacement: (label, afterKey, limit) => readByPlacement(deps, tables, { partition: label, afterKey, limit }),
    byKey: (shard, afterKey, limit) => readByKey(deps, tables, { partition: shard, afterKey, limit }),
    queuedOf: (lane, key, after) => readQueuedOf(deps, tables, { lane, key, after }),
    due: (lane, dueBefore, limit, after) => readDue(deps, tables, { lane, dueBefore, limit, after }),
    ...createLeases(deps, tables.control),
    ...createUsage(deps, tables.control),
  };
}

/** BatchGetItem refuses a key that is named twice. */
function distinct(keys: readonly string[]): string[] {
  return [...new Set(keys)];
}
