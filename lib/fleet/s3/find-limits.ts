import type { Capabilities } from '../backend.ts';
import { type Check, found, keyOf, refusal, small } from './check.ts';
import { completesUploads } from './find-uploads.ts';

/** More than any backend is known to take. */
const mostMetadataBytes = 8192;
/** Source: S3, object keys. */
const mostKeyBytes = 1024;
/** Source: S3 quotas, multipart upload. */
const mostParts = 10_000;

type Limits = Pick<Capabilities, 'maxParts' | 'metadataBytes' | 'maxKeyBytes' | 'maxSegmentBytes'>;

/** How much of each a backend takes, by the largest that it took. A limit that is the usual one, or none, is one too. */
export async function findLimits(check: Check): Promise<Limits> {
  const maxKeyBytes = await largest(mostKeyBytes, [], (bytes) => takesKey(check, keyOfBytes(check, bytes, 100)));
  const metadataBytes = await largest(mostMetadataBytes, [2048, 2049], (bytes) => takesMetadata(check, bytes));
  const room = maxKeyBytes - bytesBefore(check);
  const segmentBytes = await largest(room, [255, 256], (bytes) => takesKey(check, 'k'.repeat(bytes)));
  return {
    maxParts: (await completesUploads(check)) ? (await found(check, () => checkParts(check))) || mostParts : 0,
    // None comes back where metadata is dropped, whatever its size.
    ...(metadataBytes > 0 && { metadataBytes }),
    maxKeyBytes,
    // As long as the whole key may be: there is no such limit.
    ...(segmentBytes < room && { maxSegmentBytes: segmentBytes }),
  };
}

/** The largest number that is taken, where what is larger than one that is refused is refused as well. */
async function largest(
  most: number,
  likely: readonly number[],
  isTaken: (n: number) => Promise<boolean>,
): Promise<number> {
  if (most <= 0 || (await isTaken(most))) return most;
  let [taken, refused] = [0, most];
  const tryOne = async (n: number) => {
    if (n <= taken || n >= refused) return;
    if (await isTaken(n)) taken = n;
    else refused = n;
  };
  for (const n of likely) await tryOne(n);
  while (refused - taken > 1) await tryOne(Math.floor((taken + refused) / 2));
  return taken;
}

function bytesBefore({ s3, folder }: Check): number {
  return Buffer.byteLength(s3.fullKey(folder));
}

/** A name that makes a key in the bucket so long, in segments of at most so many bytes. */
function keyOfBytes(check: Check, keyBytes: number, segmentBytes: number): string {
  const room = Math.max(0, keyBytes - bytesBefore(check));
  const characters = Array.from({ length: room }, (_, i) => (i % (segmentBytes + 1) === segmentBytes ? '/' : 'k'));
  if (characters.at(-1) === '/') characters[room - 1] = 'k';
  return characters.join('');
}

async function takesKey(check: Check, name: string): Promise<boolean> {
  if (name === '') return true;
  const { backend, folder, written, signal } = check;
  const storageKey = folder + name;
  written.add(storageKey);
  const refused = await refusal(check, () => backend.put(small(storageKey, 'x'), signal));
  if (refused !== undefined) written.delete(storageKey);
  return refused === undefined && (await isThere(check, storageKey));
}

async function isThere(check: Check, storageKey: string): Promise<boolean> {
  const stored = await found(check, () => check.backend.head(storageKey, check.signal));
  return stored !== false && stored !== null;
}

const filler = 'holdfast-fill';

async function takesMetadata(check: Check, bytes: number): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'metadata');
  const value = 'x'.repeat(Math.max(0, bytes - filler.length));
  const kept = await found(check, async () => {
    await backend.put(small(storageKey, 'x', { metadata: { [filler]: value } }), signal);
    return (await backend.head(storageKey, signal))?.metadata[filler];
  });
  return kept === value;
}

/** Parts of one upload may have numbers up to this. */
async function checkParts(check: Check): Promise<number> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'parts');
  const { uploadId } = await backend.createUpload({ storageKey }, signal);
  const takesPart = async (partNumber: number) => {
    const { body } = small(storageKey, 'x');
    const part = { storageKey, uploadId, partNumber, sizeBytes: 1, body };
    return (await refusal(check, () => backend.uploadPart(part, signal))) === undefined;
  };
  try {
    return await largest(mostParts, [1000, 1001], takesPart);
  } finally {
    await refusal(check, () => backend.abortUpload(storageKey, uploadId, signal));
  }
}
