import { defined } from '../base/defined.ts';
import type { ObjectHeaders, PutRequest } from '../fleet/backend.ts';
import { headersDigest } from './headers-digest.ts';
import { type Mark, markedMetadata } from './mark.ts';

/** What is to be stored beside bytes. */
export interface Description {
  readonly headers?: ObjectHeaders | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Absent: the bytes are nobody's of the fleet, and say nothing of it. */
  readonly mark?: Mark;
}

/** The part of a request that says what travels beside the bytes, with the mark that says so too. */
export function describeBytes(
  { headers, metadata, tags, mark }: Description,
  backend: string,
  storageKey: string,
): Pick<PutRequest, 'headers' | 'metadata' | 'tags'> {
  if (mark === undefined) return { ...defined({ headers, metadata, tags }) };
  const complete = { ...mark, headersSha256: headersDigest(headers, metadata) };
  return {
    metadata: markedMetadata(metadata, complete, backend, storageKey),
    ...defined({ headers, tags }),
  };
}
