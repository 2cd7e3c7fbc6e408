import { type Backend, BackendError, type StoredObject } from '../fleet/backend.ts';

/**
 * The tags of an object that is to be copied. None where the backend has no tags, or its key may not read them. An object that
 * is known to have tags is not copied without them.
 */
export async function readTags(
  from: Backend,
  storageKey: string,
  { tagCount = 0 }: Pick<StoredObject, 'tagCount'>,
  signal?: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  try {
    return await from.tags(storageKey, signal);
  } catch (error) {
    if (error instanceof BackendError && isRefusal(error) && tagCount === 0) return {};
    throw error;
  }
}

/** An answer, and not that there is no such object. */
function isRefusal({ speaksOf, isCertain, isUnanswered }: BackendError): boolean {
  return !isUnanswered && (speaksOf === 'unclear' || (speaksOf === 'object' && !isCertain));
}
