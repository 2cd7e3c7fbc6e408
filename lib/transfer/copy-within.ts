import { defined } from '../base/defined.ts';
import { BackendError, type CopySource } from '../fleet/backend.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { expectedEtag } from '../store/records.ts';
import { type CopyOutcome, type CopyRequest, explain } from './copy.ts';
import { describeBytes } from './describe-bytes.ts';
import { headersDigest, headersProblem } from './headers-digest.ts';
import { carriesMark, markOf } from './mark.ts';
import { readTags } from './read-tags.ts';

/**
 * As of a streamed copy; and: `declined` not to be had this way: nothing was written · `unattested` bytes are at the target's
 * storage key, unrecorded, and it does not say that they are those recorded: they want to be enqueued for deletion.
 */
export type CopyWithinOutcome =
  | CopyOutcome
  | { readonly outcome: 'declined'; readonly detail: string }
  | { readonly outcome: 'unattested'; readonly detail: string };

export interface CopyWithinRequest extends CopyRequest {
  /** Hashed: without that an attestation proves nothing. */
  readonly object: ObjectRecord;
  /** Where the source's bytes are, at the endpoint of the target. */
  readonly place: Pick<CopySource, 'bucket' | 'prefix'>;
}

/**
 * Has the target's storage copy an object by itself to a fresh storage key. It counts as copied only if the answer attests
 * the recorded SHA-256 of the whole. What travels with the bytes is read at the source and written anew, for the mark is
 * another. Records nothing.
 */
export async function copyWithin(request: CopyWithinRequest, signal?: AbortSignal): Promise<CopyWithinOutcome> {
  const { object, from, to, copyId, place } = request;
  const sourceKey = storageKey(object.key, object.copies[from.name]!);
  const target = storageKey(object.key, copyId);
  const ifMatch = expectedEtag(object, from.name);
  try {
    const found = await from.head(sourceKey, signal);
    const isAsRecorded = found?.sizeBytes === object.sizeBytes && (ifMatch === undefined || ifMatch === found.etag);
    // Reading it says what is so.
    const isMarked = object.copies[from.name] === '' && found !== null && carriesMark(found.metadata);
    if (!isAsRecorded || isMarked || headersProblem(object, found) !== null)
      return { outcome: 'declined', detail: 'its source is not as recorded' };
    const tags = request.preservesTags ? await readTags(from, sourceKey, found, signal) : undefined;
    const description = {
      headers: found.headers,
      metadata: found.metadata,
      tags,
      mark: markOf(object, request.fleetId),
    };
    const { sha256 } = await to.copyFrom(
      {
        source: { backend: from.name, ...place, storageKey: sourceKey, ...defined({ ifMatch }) },
        storageKey: target,
        ifAbsent: true,
        ...describeBytes(description, to.name, target),
      },
      signal,
    );
    if (sha256 !== undefined && sha256 === object.sha256)
      return { outcome: 'copied', sha256, headersSha256: headersDigest(found.headers, found.metadata) };
    return { outcome: 'unattested', detail: `it attests ${sha256 ?? 'no SHA-256'}; ${object.sha256} is recorded` };
  } catch (error) {
    // It may well store this object when it is sent the bytes.
    const isDeclined = error instanceof BackendError && error.backend === to.name && isRefusal(error);
    return isDeclined ? { outcome: 'declined', detail: error.message } : explain(error, from.name);
  }
}

/** An answer about this object, or this way of copying it, that left nothing behind. */
function isRefusal({ speaksOf, storesNothing }: BackendError): boolean {
  return speaksOf === 'object' && storesNothing;
}
