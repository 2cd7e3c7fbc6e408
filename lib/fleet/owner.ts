import { defined } from '../base/defined.ts';
import type { Backend } from './backend.ts';

/** Where a bucket (prefix) says whose it is. */
export const ownerKey = '.holdfast/owner';
/** Keys below this are Holdfast's own and never objects. */
export const internalPrefix = '.holdfast/';
/** The user metadata of an owner object that names the start it was written as of. */
export const startName = 'holdfast-start';

/** Whose a bucket is: which fleet it belongs to, as which backend, and in which tables its objects are recorded. */
export interface Owner {
  readonly fleetId: string;
  readonly backend: string;
  readonly tables: string;
  /** The start that those tables noted last, where they may be set back unseen. */
  readonly start?: string;
}

/**
 * What the owner object says: `ours`, as of a start of the process that keeps the tables · `another` (with what it says) · `newer`
 * ours, as of a start that the tables do not know: they are older than the bucket · `absent` the bucket answers and has none.
 * Errors of the backend are thrown.
 */
export type Ownership =
  | { readonly outcome: 'ours'; readonly etag: string; readonly start?: string }
  | { readonly outcome: 'another'; readonly owner: string }
  | { readonly outcome: 'newer'; readonly start: string }
  | { readonly outcome: 'absent' };

/** One HEAD: the health check, and the comparison of owners. */
export async function readOwnership(backend: Backend, owner: Owner, signal?: AbortSignal): Promise<Ownership> {
  const found = await backend.head(ownerKey, signal);
  if (found === null) return { outcome: 'absent' };
  const ownerMark = found.metadata['holdfast-owner'] ?? '';
  if (ownerMark !== ownerText(owner)) return { outcome: 'another', owner: ownerMark };
  return { outcome: 'ours', etag: found.etag, ...defined({ start: found.metadata[startName] }) };
}

/** The owner that the bucket names; null when it names none. */
export async function readOwner(backend: Backend): Promise<Owner | null> {
  const found = await backend.head(ownerKey);
  const [fleetId, name, tables] = (found?.metadata['holdfast-owner'] ?? '').split(' ');
  return fleetId && name && tables ? { fleetId, backend: name, tables } : null;
}

export function ownerText({ fleetId, backend, tables }: Owner): string {
  return `${fleetId} ${backend} ${tables}`;
}
