import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { DynamoDBDocumentClient, QueryCommand, TransactWriteCommand } from '@aws-sdk/lib-dynamodb';

/** The two bare clients, with the document client and the two commands of it that a worker would need most. */
export const clients = [DynamoDBDocumentClient.from(new DynamoDBClient({})), new S3Client({})];
export const commands = [QueryCommand, TransactWriteCommand];
