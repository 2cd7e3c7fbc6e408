import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { Lease } from '../model.ts';
import type { Store } from '../port.ts';
import { leaseOf } from './items.ts';
import { queryAll, type ReadDeps } from './reads.ts';

type LeaseCalls = Pick<Store, 'acquireLease' | 'updateLease' | 'leases'>;

/** Leases as items of the Control table: `lease/<worker>`, `<part>/<of>`. */
export function createLeases(deps: ReadDeps, table: string): LeaseCalls {
  const { documents } = deps.connection;

  /** Sends a conditional update: its attributes afterwards, or null when the condition failed. */
  async function update(doing: string, lease: { worker: string; part: string }, expression: UpdateText) {
    const { set, extra, condition, values } = expression;
    const names = [...Object.keys(set), ...expression.names];
    const command = new UpdateCommand({
      TableName: table,
      Key: { pk: `lease/${lease.worker}`, sk: lease.part },
      UpdateExpression: `SET ${Object.keys(set)
        .map((name) => `#${name} = :${name}`)
        .join(', ')}${extra ?? ''}`,
      ConditionExpression: condition,
      ExpressionAttributeNames: Object.fromEntries(names.map((name) => [`#${name}`, name])),
      ExpressionAttributeValues: prefixed({ ...set, ...values }),
      ReturnValues: 'ALL_NEW',
    });
    const action = { doing: `${doing} lease "${lease.worker}" ${lease.part}`, tables: [table] };
    return deps.connection.attempt(action, async () => {
      try {
        return (await documents.send(command)).Attributes ?? {};
      } catch (error) {
        if (error instanceof Error && error.name === 'ConditionalCheckFailedException') return null;
        throw error;
      }
    });
  }

  return {
    acquireLease: async ({ worker, part, holder, now, expiresAt }) => {
      const taken = await update(
        'acquire',
        { worker, part },
        {
          set: { holder, expiresAt },
          extra: ' ADD #epoch :one',
          condition: 'attribute_not_exists(#pk) OR #expiresAt <= :now OR #holder = :holder',
          names: ['epoch', 'pk'],
          values: { now, one: 1 },
        },
      );
      return taken && leaseOf(taken, table);
    },
    updateLease: async (lease, change) => {
      const updated = await update('update', lease, {
        set: { holder: lease.holder, ...given(change) },
        condition: '#epoch = :epoch AND #holder = :holder',
        names: ['epoch'],
        values: { epoch: lease.epoch },
      });
      return updated !== null;
    },
    leases: async (worker) => {
      const items = await queryAll(deps, table, { pk: `lease/${worker}` });
      return items.map((item): Lease => leaseOf(item, table));
    },
  };
}

interface UpdateText {
  readonly set: Readonly<Record<string, unknown>>;
  readonly extra?: string;
  readonly condition: string;
  /** Names of attributes that the expressions mention besides those set. */
  readonly names: readonly string[];
  readonly values: Readonly<Record<string, unknown>>;
}

function given(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function prefixed(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`:${name}`, value]));
}
