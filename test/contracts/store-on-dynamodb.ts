import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import type { TableNames } from '../../lib/config/tables.ts';
import { createDynamoClient, type DynamoClientOptions } from '../../lib/store/dynamodb/client.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { createDynamoStore } from '../../lib/store/dynamodb/dynamo-store.ts';
import type { Store } from '../../lib/store/port.ts';
import type { StoreLab } from './store-fixtures.ts';

let fleets = 0;

export function newTableNames(): TableNames {
  fleets += 1;
  return { objects: `objects-${fleets}`, queue: `queue-${fleets}`, control: `control-${fleets}` };
}

export function localClient(endpoint: string, options: DynamoClientOptions = {}): DynamoDBClient {
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
  return createDynamoClient({ endpoint, region: 'us-east-1', credentials, ...options });
}

export function storeOn(client: DynamoDBClient, tables: TableNames): Store {
  return createDynamoStore({ client, tables, clock: systemClock, ids: createIds(systemClock) });
}

/** Stores on a DynamoDB endpoint, each with tables of its own. */
export function labAt(endpoint: string, closeServer: () => Promise<void>): StoreLab {
  const client = localClient(endpoint);
  return {
    fresh: async () => {
      const tables = newTableNames();
      await createTables(client, tables, systemClock);
      return storeOn(client, tables);
    },
    close: async () => {
      client.destroy();
      await closeServer();
    },
  };
}
