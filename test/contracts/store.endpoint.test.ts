import { DeleteTableCommand } from '@aws-sdk/client-dynamodb';
import { describe } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import type { TableNames } from '../../lib/config/tables.ts';
import { createDynamoClient } from '../../lib/store/dynamodb/client.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { storeContract } from './store.ts';
import { newTableNames, storeOn } from './store-on-dynamodb.ts';

/**
 * A DynamoDB of yours: an address, or `aws` for that of `AWS_REGION`. Its keys are those that the AWS SDK finds. Some two
 * hundred tables are created there under a name of this run, on demand, and removed in the end.
 */
const given = process.env.HOLDFAST_TEST_DYNAMODB;

describe.skipIf(given === undefined || given === '')('with the endpoint that the environment names', () => {
  storeContract(`DynamoDB at ${given}`, async () => {
    const client = createDynamoClient(given === 'aws' ? {} : { endpoint: given! });
    const run = `holdfast-test-${createIds(systemClock).ulid()}`;
    const created: TableNames[] = [];
    return {
      fresh: async () => {
        const { objects, queue, control } = newTableNames();
        const tables = { objects: `${run}-${objects}`, queue: `${run}-${queue}`, control: `${run}-${control}` };
        created.push(tables);
        await createTables(client, tables, systemClock);
        return storeOn(client, tables);
      },
      close: async () => {
        const names = created.flatMap((tables) => Object.values(tables));
        for (const TableName of names) await client.send(new DeleteTableCommand({ TableName })).catch(() => {});
        client.destroy();
      },
    };
  });
});
