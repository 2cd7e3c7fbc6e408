import { bodyOf, collect } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type Backend, BackendError, type PutRequest } from './backend.ts';
import { type Owner, ownerKey, ownerText, startName } from './owner.ts';

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
    throw new BackendError(
      'rejected',
      backend.name,
      `Backend "${backend.name}" stores other bytes than it was sent: check what stands between, such as a proxy at its \`endpoint\``,
    );
  }
  if (metadata['holdfast-owner'] !== ownerText(owner)) {
    throw new BackendError(
      'rejected',
      backend.name,
      `Backend "${backend.name}" drops user metadata, by which Holdfast knows its own bytes: it cannot be used`,
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
