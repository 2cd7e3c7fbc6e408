import { bodyOf, collect } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type Backend, BackendError, type PutRequest } from './backend.ts';

/** Where a bucket (prefix) says whose it is. */
export const ownerKey = '.holdfast/owner';
/** Keys below this are Holdfast's own and never objects. */
export const internalPrefix = '.holdfast/';

/** Whose a bucket is: one fleet, one backend name, and the very tables that hold its metadata. */
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

/** Why a bucket that is not ours is not, as a sentence; null when it is. */
export function ownershipProblem({ fleetId, backend: name }: Pick<Owner, 'fleetId' | 'backend'>, found: Ownership) {
  const bucket = `The bucket of backend "${name}"`;
  switch (found.outcome) {
    case 'ours':
      return null;
    case 'absent':
      return `${bucket} has no owner object: it is missing, or not the bucket that was initialised`;
    case 'newer':
      return `${bucket} knows a later start of this fleet than the tables: they were restored from a backup, or another copy of them is in use`;
    case 'another': {
      const [fleet, backend] = found.owner.split(' ');
      if (fleet !== fleetId) return `${bucket} belongs to another fleet ("${found.owner}")`;
      if (backend !== name)
        return `${bucket} is that of backend "${backend}" of this fleet: a backend keeps its name, so give it back in the fleet file`;
      return `${bucket} belongs to another fleet, or to other tables of this one ("${found.owner}")`;
    }
  }
}

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

/** Notes a start in an owner object that is ours, and still the one that was read, where the backend can say so. */
export async function noteStart(backend: Backend, owner: Owner, etag: string): Promise<void> {
  await backend.put({ ...ownerPut(owner), ifMatch: etag });
}

/** Writes the owner object and reads it back: the backend must keep user metadata. */
export async function writeOwner(backend: Backend, owner: Owner): Promise<void> {
  const request = ownerPut(owner);
  await backend.put(request);
  const { body: stored, metadata } = await backend.get(ownerKey);
  if (!(await collect(stored)).equals(ownerBody(owner))) {
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

function ownerBody(owner: Owner): Buffer {
  return Buffer.from(`${JSON.stringify(owner, null, 2)}\n`);
}

function ownerPut(owner: Owner): PutRequest {
  const body = ownerBody(owner);
  return {
    storageKey: ownerKey,
    sizeBytes: body.length,
    body: bodyOf(body),
    headers: { contentType: 'application/json' },
    metadata: { 'holdfast-owner': ownerText(owner), ...defined({ [startName]: owner.start }) },
  };
}

const startName = 'holdfast-start';

function ownerText({ fleetId, backend, tables }: Owner): string {
  return `${fleetId} ${backend} ${tables}`;
}
