import type { StoredObject } from '../../fleet/backend.ts';
import { headersProblem } from '../headers-digest.ts';
import { carriesMark, markedFileProblem } from '../mark.ts';
import type { StoredBytes } from './stored-bytes.ts';

/** Why stored bytes cannot be those expected, by what is said of them: without reading any. */
export type OtherBytes = { readonly outcome: 'changed' } | { readonly outcome: 'wrong'; readonly detail: string };

/**
 * Null when what a backend says of them agrees. Headers of a plain file are its owner's to change; one that carries a mark is
 * no content.
 */
export function whyOther(bytes: StoredBytes, found: StoredObject): OtherBytes | null {
  if (bytes.isPlain && carriesMark(found.metadata)) return { outcome: 'wrong', detail: `it ${markedFileProblem}` };
  if (bytes.etag !== undefined && found.etag !== bytes.etag) return { outcome: 'changed' };
  if (found.sizeBytes !== bytes.sizeBytes)
    return { outcome: 'wrong', detail: `${found.sizeBytes} bytes instead of ${bytes.sizeBytes}` };
  const problem = headersProblem(bytes, found);
  if (problem === null) return null;
  return bytes.etag === undefined ? { outcome: 'wrong', detail: `it ${problem}` } : { outcome: 'changed' };
}
