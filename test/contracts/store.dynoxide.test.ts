import { startDynamo } from '../../lib/local/dynamodb.ts';
import { storeContract } from './store.ts';
import { labAt } from './store-on-dynamodb.ts';

storeContract('dynoxide', async () => {
  const server = await startDynamo();
  return labAt(server.endpoint, server.close);
});
