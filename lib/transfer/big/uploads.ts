import { type Backend, BackendError, type CompletedPart } from '../../fleet/backend.ts';
import { lengthOfPart } from '../parts.ts';

/** Aborts the open uploads of exactly this key. */
export async function abortUploads(backend: Backend, storageKey: string, signal?: AbortSignal): Promise<void> {
  let open: readonly string[];
  try {
    open = await backend.openUploads(storageKey, signal);
  } catch (error) {
    // What a backend does not list nobody can find.
    if (error instanceof BackendError && error.kind === 'unsupported') return;
    throw error;
  }
  for (const uploadId of open) await backend.abortUpload(storageKey, uploadId, signal);
}

/** Parts 1 to `count` of an upload, when each is there with its length; else null. */
export function wholeParts(
  existing: readonly CompletedPart[],
  size: { readonly sizeBytes: number; readonly partSizeBytes: number },
  count: number,
): CompletedPart[] | null {
  const byNumber = new Map(existing.map((part) => [part.partNumber, part]));
  const parts: CompletedPart[] = [];
  for (let n = 1; n <= count; n += 1) {
    const part = byNumber.get(n);
    if (part?.sizeBytes !== lengthOfPart(size.sizeBytes, size.partSizeBytes, n)) return null;
    parts.push(part);
  }
  return parts;
}
