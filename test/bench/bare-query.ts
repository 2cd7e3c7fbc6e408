import { DynamoDBClient, QueryCommand } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';

const [tables, _objects] = [new DynamoDBClient({}), new S3Client({})];

/** What an idle tick cannot do without: the two clients, and one query. */
export async function handler(): Promise<void> {
  await tables.send(
    new QueryCommand({
      TableName: 'holdfast-control',
      KeyConditionExpression: 'pk = :pk',
      ExpressionAttributeValues: { ':pk': { S: 'fleet' } },
    }),
  );
}
