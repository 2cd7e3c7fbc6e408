import { noUsage, plusUsage, type Usage, usageFields } from '../../base/usage.ts';
import type { Store } from '../port.ts';
import { StoreError } from '../port.ts';
import { usageOf } from './items.ts';
import { backoffMs, queryAll, type ReadDeps } from './reads.ts';
import { sendTransaction } from './transactions.ts';

const conflictAttempts = 8;
/** As long as anybody may ask what was spent: a year and a month. */
const keptSeconds = 400 * 24 * 3600;

/** Usage by the hour as items of the Control table: `usage/<backend>`, `yyyy-mm-ddThh`. */
export function createUsage(deps: ReadDeps, table: string): Pick<Store, 'addUsage' | 'usage'> {
  return {
    addUsage: async (hour, usage, token) => {
      const items = Object.entries(usage).map(([backend, spent]) => ({ Update: additionOf(backend, hour, spent) }));
      if (items.length === 0) return;
      const action = { doing: `add the usage of ${items.length} backends in ${hour}`, tables: [table] };
      for (let attempt = 1; attempt <= conflictAttempts; attempt += 1) {
        const answer = await sendTransaction(deps, action, items, token);
        if (answer.outcome === 'done') return;
        // The additions carry no condition: only another writer of the same rows can be in the way.
        await deps.clock.sleep(backoffMs(attempt, deps.ids));
      }
      throw new StoreError('throttled', `Cannot ${action.doing}: other writers kept the rows of "${table}" busy`);
    },
    usage: async (hours, backends) => {
      const names = [...new Set(backends)];
      const found = await Promise.all(
        names.map(async (backend) => {
          const items = await queryAll(deps, table, { pk: pkOf(backend), ...hours });
          return [backend, items.map((item) => usageOf(item, table))] as const;
        }),
      );
      return new Map(
        found.flatMap(([backend, all]) =>
          all.length === 0 ? [] : [[backend, all.reduce(plusUsage, noUsage)] as const],
        ),
      );
    },
  };

  function additionOf(backend: string, hour: string, spent: Usage) {
    const sums = usageFields.map((field) => `#${field} :${field}`).join(', ');
    return {
      TableName: table,
      Key: { pk: pkOf(backend), sk: hour },
      UpdateExpression: `SET #ttl = :ttl ADD ${sums}`,
      ExpressionAttributeNames: Object.fromEntries(['ttl', ...usageFields].map((field) => [`#${field}`, field])),
      ExpressionAttributeValues: {
        ...Object.fromEntries(usageFields.map((field) => [`:${field}`, spent[field]])),
        ':ttl': Math.floor(Date.parse(`${hour}:00:00Z`) / 1000) + keptSeconds,
      },
    };
  }
}

function pkOf(backend: string): string {
  return `usage/${backend}`;
}
