import type { Usage } from '../../base/usage.ts';
import type { Store } from '../port.ts';
import { StoreError } from '../port.ts';
import { itemOf } from './attributes.ts';
import { textOf, usageOf } from './items.ts';
import { backoffMs, batchGet, type ReadDeps } from './reads.ts';
import { sendTransaction } from './transactions.ts';

const conflictAttempts = 8;

/** Monthly usage as items of the Control table: `usage/<backend>`, `yyyy-mm`. */
export function createUsage(deps: ReadDeps, table: string): Pick<Store, 'addUsage' | 'usage'> {
  return {
    addUsage: async (month, usage, token) => {
      const items = Object.entries(usage).map(([backend, spent]) => ({ Update: additionOf(backend, month, spent) }));
      if (items.length === 0) return;
      const action = { doing: `add the usage of ${items.length} backends in ${month}`, tables: [table] };
      for (let attempt = 1; attempt <= conflictAttempts; attempt += 1) {
        const answer = await sendTransaction(deps, action, items, token);
        if (answer.outcome === 'done') return;
        // The additions carry no condition: only another writer of the same rows can be in the way.
        await deps.clock.sleep(backoffMs(attempt, deps.ids));
      }
      throw new StoreError('throttled', `Cannot ${action.doing}: other writers kept the rows of "${table}" busy`);
    },
    usage: async (month, backends) => {
      const keys = [...new Set(backends)].map((backend) => keyOf(backend, month));
      const items = await batchGet(deps, table, keys);
      return new Map(items.map((item) => [textOf(item, 'pk', table).slice('usage/'.length), usageOf(item, table)]));
    },
  };

  function additionOf(backend: string, month: string, spent: Usage) {
    return {
      TableName: table,
      Key: keyOf(backend, month),
      UpdateExpression: 'ADD #requests :requests, #egressBytes :egressBytes, #ingressBytes :ingressBytes',
      ExpressionAttributeNames: {
        '#requests': 'requests',
        '#egressBytes': 'egressBytes',
        '#ingressBytes': 'ingressBytes',
      },
      ExpressionAttributeValues: itemOf({
        ':requests': spent.requests,
        ':egressBytes': spent.egressBytes,
        ':ingressBytes': spent.ingressBytes,
      }),
    };
  }
}

function keyOf(backend: string, month: string) {
  return itemOf({ pk: `usage/${backend}`, sk: month });
}
