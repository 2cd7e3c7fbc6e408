import { describe } from 'vitest';
import { storeContract } from './store.ts';
import { startDynamoLocal, whyNoDynamoLocal } from './store-dynamodb-local.ts';
import { labAt } from './store-on-dynamodb.ts';

const reason = whyNoDynamoLocal();
if (reason !== null) process.stderr.write(`The store contract is not run on DynamoDB Local: ${reason}\n`);

describe.skipIf(reason !== null)('with AWS\u2019s own implementation', () => {
  storeContract('DynamoDB Local', async () => {
    const server = await startDynamoLocal();
    return labAt(server.endpoint, server.close);
  });
});
