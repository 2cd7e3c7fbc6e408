import type { Body } from '../base/bytes.ts';
import type { ClientContext } from './context.ts';
import { HoldfastError } from './error.ts';
import type { ByteRange } from './get-range.ts';
import { unreadable } from './open-copy.ts';
import { type GetObject, openObject, WrongCopyError } from './open-object.ts';

export type { GetObject } from './open-object.ts';

/** How often an object may be replaced under a reader before it gives up. */
const mostChanges = 10;

export interface GetOptions {
  /**
   * Bytes counted from 0, the second one included; without it, to the end; negative: so many last bytes. Up to 8 MiB, and of what
   * is encrypted, the whole object is read and verified, and the part is given. Of a larger object only the part is read: its copy has
   * the recorded size, headers, ETag and (where the backend attests it) hash; a hash of its bytes alone there is none to compare
   * with: `isVerified` says which.
   */
  readonly range?: ByteRange;
}

/**
 * Reads an object from any reachable copy; null when there is none. A copy that fails, or is wrong, is passed over, after
 * the record was read again; content of two generations is never joined.
 */
export async function get(context: ClientContext, key: string, { range }: GetOptions = {}): Promise<GetObject | null> {
  if (range === undefined) return onceReadIfAny((await openObject(context, key))?.object ?? null);
  const { getRange } = await import('./get-range.ts');
  return onceReadIfAny(await getRange(context, key, range));
}

const onceReadIfAny = (object: GetObject | null) => (object === null ? null : onceRead(object));

/** A second reading would give nothing, and pass for empty content. */
function onceRead(object: GetObject): GetObject {
  let isRead = false;
  const body: Body = {
    [Symbol.asyncIterator]() {
      if (isRead) throw new HoldfastError('bad-body', `The content of "${object.key}" was read before: get it again`);
      isRead = true;
      return object.body[Symbol.asyncIterator]();
    },
  };
  return { ...object, body };
}

/**
 * Reads an object for a consumer that can begin again: when what it was given proves wrong at its end, or is replaced
 * meanwhile, it is given the whole of another copy. Null when there is no object. Resolves to what the consumer did, once
 * it read to a verified end.
 */
export async function read<T>(
  context: ClientContext,
  key: string,
  consume: (object: GetObject) => Promise<T>,
): Promise<T | null> {
  const reasons: string[] = [];
  let changes = 0;
  for (;;) {
    const opened = await openObject(context, key);
    if (opened === null) return null;
    try {
      return await consume(onceRead(opened.object));
    } catch (error) {
      if (error instanceof HoldfastError && error.kind === 'changed' && changes < mostChanges) {
        changes += 1;
        continue;
      }
      if (!(error instanceof WrongCopyError)) throw error;
      reasons.push(error.whatIsSo);
      if (reasons.length >= opened.copies) throw unreadable(key, 'no copy verifies', reasons);
    }
  }
}
