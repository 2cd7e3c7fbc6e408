import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';

/**
 * An item as the document client takes and gives it: JavaScript values by attribute. Absent optionals are not stored. A number
 * beyond 2^53 is not stored, and is read as a bigint, which no schema takes.
 */
export type Item = Record<string, unknown>;

/** How the document client is told to convert them; it writes into the object that it is given. */
export const marshallOptions = Object.freeze({ removeUndefinedValues: true });

/** What the document client does not convert: the item that an error carries. */
export function itemInError(item: Record<string, AttributeValue> | undefined): Item | undefined {
  return item && unmarshall(item);
}
