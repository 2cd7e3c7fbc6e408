import { collect } from '../base/bytes.ts';
import { type Backend, BackendError } from './backend.ts';

/** Where a bucket (prefix) says whose it is. */
export const ownerKey = '.holdfast/owner';
/** Keys below this are Holdfast's own and never objects. */
export const internalPrefix = '.holdfast/';

/** Whose a bucket is: one fleet, one backend name, and the very tables that hold its metadata. */
export interface Owner {
  readonly fleetId: string;
  readonly backend: string;
  readonly tables: string;
}

/**
 * What the owner object says: `ours` · `another` (with what it says) · `absent` the bucket answers and has none.
 * Errors of the backend are thrown.
 */
export type Ownership =
  | { readonly outcome: 'ours' }
  | { readonly outcome: 'another'; readonly owner: string }
  | { readonly outcome: 'absent' };

/** One HEAD: the health check, and the comparison of owners. */
export async function readOwnership(backend: Backend, owner: Owner, signal?: AbortSignal): Promise<Ownership> {
  const found = await backend.head(ownerKey, signal);
  if (found === null) return { outcome: 'absent' };
  const ownerMark = found.metadata['holdfast-owner'] ?? '';
  return ownerMark === ownerText(owner) ? { outcome: 'ours' } : { outcome: 'another', owner: ownerMark };
}

/** The owner that the bucket names; null when it names none. */
export async function readOwner(backend: Backend): Promise<Owner | null> {
  const found = await backend.head(ownerKey);
  const [fleetId, name, tables] = (found?.metadata['holdfast-owner'] ?? '').split(' ');
  return fleetId && name && tables ? { fleetId, backend: name, tables } : null;
}

/** Writes the owner object and reads it back: the backend must keep user metadata. */
export async function writeOwner(backend: Backend, owner: Owner): Promise<void> {
  const body = Buffer.from(`${JSON.stringify(owner, null, 2)}\n`);
  await backend.put({
    storageKey: ownerKey,
    sizeBytes: body.length,
    body: (async function* () {
      yield body;
    })(),
    headers: { contentType: 'application/json' },
    metadata: { 'holdfast-owner': ownerText(owner) },
  });
  const { body: stored, metadata } = await backend.get(ownerKey);
  if (!(await collect(stored)).equals(body)) {
    throw new BackendError('rejected', backend.name, `Backend "${backend.name}" stores other bytes than it was sent`);
  }
  if (metadata['holdfast-owner'] !== ownerText(owner)) {
    throw new BackendError(
      'rejected',
      backend.name,
      `Backend "${backend.name}" drops user metadata, which Holdfast needs to know its own bytes`,
    );
  }
}

function ownerText({ fleetId, backend, tables }: Owner): string {
  return `${fleetId} ${backend} ${tables}`;
}
