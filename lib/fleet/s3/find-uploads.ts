import type { Body } from '../../base/bytes.ts';
import { type Check, found, keyOf, refusal, small, textAt } from './check.ts';

/** Whether an upload in parts becomes an object with its metadata: without that, how many parts it may have says nothing. */
export async function completesUploads(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'upload');
  const mark = 'in parts';
  let uploadId: string | undefined;
  const refused = await refusal(check, async () => {
    ({ uploadId } = await backend.createUpload({ storageKey, metadata: { 'holdfast-check': mark } }, signal));
    const { body, sizeBytes } = small(storageKey, 'in one part');
    const { etag } = await backend.uploadPart({ storageKey, uploadId, partNumber: 1, sizeBytes, body }, signal);
    await backend.completeUpload({ storageKey, uploadId, parts: [{ partNumber: 1, etag, sizeBytes }] }, signal);
  });
  if (refused !== undefined && uploadId !== undefined)
    await refusal(check, () => backend.abortUpload(storageKey, uploadId!, signal));
  if (refused !== undefined || (await textAt(check, storageKey)) !== 'in one part') return false;
  const described = await found(check, () => backend.head(storageKey, signal));
  return described !== false && described?.metadata['holdfast-check'] === mark;
}

/** What is said of an upload that was aborted, by everything that is asked of one. */
export async function namesGoneUploads(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'gone-upload');
  const { uploadId } = await backend.createUpload({ storageKey }, signal);
  await backend.abortUpload(storageKey, uploadId, signal);
  const { body, sizeBytes } = small(storageKey, 'x');
  const parts = [{ partNumber: 1, etag: '"00000000000000000000000000000000"', sizeBytes }];
  const answers = [
    await refusal(check, () => backend.uploadPart({ storageKey, uploadId, partNumber: 1, sizeBytes, body }, signal)),
    await refusal(check, () => backend.listParts(storageKey, uploadId, signal)),
    await refusal(check, () => backend.completeUpload({ storageKey, uploadId, parts }, signal)),
  ];
  // One that took the part is open again.
  if (answers[0] === undefined) await refusal(check, () => backend.abortUpload(storageKey, uploadId, signal));
  return answers.every((answer) => answer === 'no-upload');
}

/** More than anybody on the way holds back: half of it reaches the backend. */
const streamedBytes = 2 ** 22;
const chunkBytes = 2 ** 18;

/** Sends an object whose bytes end too early. What comes of it is looked at later: a server may notice the end late. */
export async function breakOff(check: Check): Promise<string> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'truncated');
  const request = { storageKey, sizeBytes: streamedBytes, body: breakingOff() };
  // The error is our own: it says nothing of the backend.
  await backend.put(request, signal).catch(() => {});
  return storageKey;
}

/** Whether nothing is stored at the key of an object that broke off. */
export async function discardsTruncated({ backend, signal }: Check, storageKey: string): Promise<boolean> {
  return (await backend.head(storageKey, signal)) === null;
}

async function* breakingOff(): Body {
  for (let sent = 0; sent < streamedBytes / 2; sent += chunkBytes) yield Buffer.alloc(chunkBytes);
  throw new Error('These bytes end here');
}
