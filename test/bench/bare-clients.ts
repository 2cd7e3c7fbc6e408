import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';

/** What every handler is measured against: the two clients it cannot do without, and nothing else. */
export const clients = [new DynamoDBClient({}), new S3Client({})];
