import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { type Item, marshallOptions } from '../../lib/store/dynamodb/attributes.ts';

/** An item as it is read once it was written: the document client converts it both ways. */
export function throughDynamo(item: object): Item {
  return unmarshall(marshall(item, marshallOptions));
}
