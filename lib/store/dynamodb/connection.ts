import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { marshallOptions } from './attributes.ts';
import { type Action, isUnanswered, storeErrorOf, UnansweredWrite } from './errors.ts';

/** Sends commands; whatever goes wrong is thrown as a `StoreError`. */
export interface Connection {
  readonly client: DynamoDBClient;
  /** The same client, for items as JavaScript values. */
  readonly documents: DynamoDBDocumentClient;
  attempt<T>(action: Action, send: () => Promise<T>): Promise<T>;
}

/**
 * A client whose retries are honest. The SDK resends after a lost answer and would then report only the last answer:
 * a conditional write that did take effect would look refused. So a lost answer to a write ends its retries.
 */
export function connect(client: DynamoDBClient): Connection {
  client.middlewareStack.addRelativeTo(endAtLostAnswer, {
    relation: 'after',
    toMiddleware: 'retryMiddleware',
    name: 'holdfastEndAtLostAnswer',
    override: true,
  });
  return {
    client,
    documents: DynamoDBDocumentClient.from(client, { marshallOptions: { ...marshallOptions } }),
    attempt: async (action, send) => {
      try {
        return await send();
      } catch (error) {
        throw storeErrorOf(error, action);
      }
    },
  };
}

const writes = new Set(['TransactWriteItemsCommand', 'PutItemCommand', 'UpdateItemCommand', 'DeleteItemCommand']);

/** Runs once per send, inside the SDK's retries. */
function endAtLostAnswer<Args, Answer>(
  next: (args: Args) => Promise<Answer>,
  context: { readonly commandName?: string },
): (args: Args) => Promise<Answer> {
  return async (args) => {
    try {
      return await next(args);
    } catch (error) {
      throw writes.has(context.commandName ?? '') && isUnanswered(error) ? new UnansweredWrite(error) : error;
    }
  };
}
