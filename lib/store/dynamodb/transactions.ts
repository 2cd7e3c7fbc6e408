import { type CancellationReason, type ConsumedCapacity, TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import { TransactWriteCommand, type TransactWriteCommandInput } from '@aws-sdk/lib-dynamodb';
import { StoreError } from '../port.ts';
import { type Item, itemInError } from './attributes.ts';
import type { Action } from './errors.ts';
import type { ReadDeps } from './reads.ts';

/** One action of a transaction. */
export type TransactionItem = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

/** What became of each action of a cancelled transaction, in order: `seen` is set where a condition failed. */
export type ActionOutcome = 'not-in-the-way' | 'conflict' | { readonly seen: Item | undefined };

export type TransactionAnswer =
  | { readonly outcome: 'done'; readonly writeUnits: number }
  | { readonly outcome: 'cancelled'; readonly actions: readonly ActionOutcome[] };

/** Sends one TransactWriteItems request. */
export async function sendTransaction(
  deps: ReadDeps,
  action: Action,
  items: readonly TransactionItem[],
  token: string,
): Promise<TransactionAnswer> {
  const command = new TransactWriteCommand({
    TransactItems: [...items],
    ClientRequestToken: token,
    ReturnConsumedCapacity: 'TOTAL',
  });
  return deps.connection.attempt(action, async () => {
    try {
      const answer = await deps.connection.documents.send(command);
      return { outcome: 'done', writeUnits: writeUnitsOf(answer.ConsumedCapacity ?? []) };
    } catch (error) {
      if (!(error instanceof TransactionCanceledException) || !error.CancellationReasons) throw error;
      return { outcome: 'cancelled', actions: outcomesOf(error.CancellationReasons, action, error) };
    }
  });
}

function outcomesOf(reasons: readonly CancellationReason[], action: Action, error: Error): ActionOutcome[] {
  const actions = reasons.map(({ Code, Item }): ActionOutcome | null => {
    if (Code === undefined || Code === 'None') return 'not-in-the-way';
    if (Code === 'TransactionConflict') return 'conflict';
    return Code === 'ConditionalCheckFailed' ? { seen: itemInError(Item) } : null;
  });
  // Something else than a refusal: a fault of the request outweighs a busy table, which a retry may find idle.
  const others = reasons.filter((_, i) => actions[i] === null);
  const isThrottled = ({ Code }: CancellationReason) => /^(ThrottlingError|ProvisionedThroughputExceeded)/.test(Code!);
  const fault = others.find((reason) => !isThrottled(reason)) ?? others[0];
  if (fault) {
    const kind = isThrottled(fault) ? 'throttled' : 'rejected';
    throw new StoreError(kind, `Cannot ${action.doing}: ${fault.Code}: ${fault.Message ?? 'no message'}`, error);
  }
  return actions.filter((outcome) => outcome !== null);
}

/** Write units over all tables and their indexes. The answer to a resend reports only read units. */
function writeUnitsOf(consumed: readonly ConsumedCapacity[]): number {
  return consumed.reduce((sum, { WriteCapacityUnits, ReadCapacityUnits, CapacityUnits }) => {
    const units = WriteCapacityUnits ?? (ReadCapacityUnits === undefined ? CapacityUnits : 0);
    return sum + (units ?? 0);
  }, 0);
}
