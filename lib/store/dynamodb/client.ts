import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import { storeErrorOf } from './errors.ts';

export interface DynamoClientOptions {
  readonly endpoint?: string;
  readonly region?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Sends per request, the first included: reads after any failure, writes only after one that certainly had no effect. */
  readonly maxAttempts?: number;
  /** From sending a request to the end of its answer. */
  readonly requestTimeoutMs?: number;
  readonly connectionTimeoutMs?: number;
}

/**
 * A DynamoDB client that never waits for ever: 2 s to connect and 10 s to answer, by default.
 * What is not given comes from the SDK's own environment (`AWS_REGION`, `AWS_ENDPOINT_URL_DYNAMODB`, ...).
 */
export function createDynamoClient(options: DynamoClientOptions = {}): DynamoDBClient {
  const config: DynamoDBClientConfig = {
    maxAttempts: options.maxAttempts ?? 3,
    requestHandler: {
      connectionTimeout: options.connectionTimeoutMs ?? 2_000,
      requestTimeout: options.requestTimeoutMs ?? 10_000,
      throwOnRequestTimeout: true,
    },
  };
  if (options.endpoint !== undefined) config.endpoint = options.endpoint;
  if (options.region !== undefined) config.region = options.region;
  if (options.credentials !== undefined) config.credentials = options.credentials;
  const client = open(config);
  // It copies every input and output for a logger that there is not.
  client.middlewareStack.remove('loggerMiddleware');
  return client;
}

/** The SDK wants to know a region before the first request. */
function open(config: DynamoDBClientConfig): DynamoDBClient {
  try {
    return new DynamoDBClient(config);
  } catch (error) {
    throw storeErrorOf(error, { doing: 'open the tables', tables: [] });
  }
}
