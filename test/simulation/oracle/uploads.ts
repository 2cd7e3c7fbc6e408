import type { Actor } from '../operation.ts';
import { placeOf, type Sight } from './sight.ts';

/** Parts are bytes too: whoever begins an upload ends it, or leaves a queue item that names its key. */
export interface UploadsCheck {
  /** A multipart upload was begun; `isLate` when nobody waits for it any more: that is nobody's fault. */
  uploadOpened(by: Actor, backend: string, storageKey: string, uploadId: string, isLate: boolean): void;
  /** Uploads that are open now. */
  openUploads(): Promise<OpenUpload[]>;
}

export interface OpenUpload {
  readonly place: string;
  /** A queue item names the key, its writer is at work, or something befell it. */
  readonly isExplained: boolean;
}

export function createUploadsCheck({ backends, queue, places }: Sight): UploadsCheck {
  const begun = new Map<string, { readonly by: Actor; readonly backend: string; readonly storageKey: string }>();
  return {
    uploadOpened(by, backend, storageKey, uploadId, isLate) {
      if (!isLate) begun.set(`${backend} ${uploadId}`, { by, backend, storageKey });
    },
    async openUploads() {
      const open: OpenUpload[] = [];
      for (const [id, { by, backend, storageKey }] of begun) {
        // What was on a backend that was given up is nobody's, should it come back.
        if (places.wasForgotten(backend)) continue;
        const place = placeOf(backend, storageKey);
        const ids = await backends.get(backend)!.openUploads(storageKey);
        const isAtWork = by.state === 'running' || by.state === 'frozen';
        if (ids.includes(id.slice(backend.length + 1)))
          open.push({ place, isExplained: queue.has(place) || isAtWork || by.hadFault });
        else begun.delete(id);
      }
      return open;
    },
  };
}
