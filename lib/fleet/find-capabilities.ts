import { createHash } from 'node:crypto';
import {
  CompleteMultipartUploadCommand,
  DeleteObjectsCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { type Body, collect } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Ids } from '../base/ids.ts';
import { BackendError, type Capabilities, type DeleteOutcome } from './backend.ts';
import { type Check, found, keyOf, refusal, small, textAt } from './s3/check.ts';
import { connectS3 } from './s3/connection.ts';
import { pathOf } from './s3/copy.ts';
import { findForms } from './s3/find-forms.ts';
import { findLimits } from './s3/find-limits.ts';
import { findListings } from './s3/find-listings.ts';
import { breakOff, discardsTruncated, namesGoneUploads } from './s3/find-uploads.ts';
import type { S3ConnectionOptions } from './s3/options.ts';
import { backendOn } from './s3-backend.ts';

/** Where the capability checks write: below the backend's prefix, one folder for each run. */
export const capabilitiesPrefix = '.holdfast/capabilities/';

/** Everything is tried, whatever is believed so far. */
const everyCapability: Capabilities = {
  conditionalPut: true,
  conditionalCompletion: true,
  conditionalCopies: true,
  conditionalDelete: true,
  checksumSha256: true,
  listsInByteOrder: true,
};

/**
 * Finds what a backend can do by doing it, with a few small objects below `.holdfast/capabilities/` that are gone afterwards:
 * what counts is what happens, for some backends accept a condition or a checksum and ignore it. Needs the right to
 * delete. Throws a `BackendError` when the backend cannot be asked, and one of kind `rejected` when it gives back other
 * bytes than it was sent.
 */
export async function findCapabilities(
  options: Omit<S3ConnectionOptions, 'capabilities'>,
  { ids }: { readonly ids: Ids },
  signal?: AbortSignal,
): Promise<Capabilities> {
  const s3 = connectS3({ ...options, capabilities: everyCapability });
  const folder = `${capabilitiesPrefix}${ids.ulid()}/`;
  const written = new Set<string>();
  const check: Check = { s3, backend: backendOn(s3), ids, folder, written, signal };
  let can: Capabilities = {};
  try {
    const keepsMetadata = await checkBytes(check);
    can = { keepsMetadata, keepsVersions: await checkVersions(check) };
    const truncated = await breakOff(check);
    can = {
      ...can,
      conditionalPut: await found(check, () => checkConditionalPut(check)),
      conditionalCompletion: await found(check, () => checkConditionalCompletion(check)),
      conditionalCopies: await found(check, () => checkConditionalCopies(check)),
      conditionalDelete: await found(check, () => checkConditionalDelete(check)),
      checksumSha256: await found(check, () => checkChecksum(check)),
      bulkDelete: await found(check, () => checkBulkDelete(check)),
      ...(await findListings(check)),
      partCopy: await found(check, () => checkPartCopy(check)),
      attestsCopies: await found(check, () => checkCopy(check)),
      tags: await found(check, () => checkTags(check)),
      keepsHeaders: await found(check, () => checkHeaders(check)),
      ...(await findForms(check)),
      ...(await findLimits(check)),
      namesGoneUploads: await found(check, () => namesGoneUploads(check)),
      discardsTruncated: await found(check, () => discardsTruncated(check, truncated)),
    };
  } catch (error) {
    await cleanUp(options, can, written).catch(() => {}); // the first error says more
    throw error;
  } finally {
    s3.close();
  }
  await cleanUp(options, can, written);
  return can;
}

const anotherEtag = '"00000000000000000000000000000000"';
const mark = { 'holdfast-check': 'a mark; of = two' };

/** Writes as objects will be written, small and streamed, and reads back. Returns whether user metadata came back too. */
async function checkBytes(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  let keepsMetadata = true;
  for (const sizeBytes of [0, 1000, 300 * 1024]) {
    const bytes = patterned(sizeBytes);
    const storageKey = keyOf(check, `bytes-${sizeBytes}`);
    await backend.put({ storageKey, sizeBytes, body: inTwo(bytes), metadata: mark }, signal);
    const stored = await backend.get(storageKey, {}, signal);
    if (!(await collect(stored.body)).equals(bytes)) {
      const { name } = backend;
      throw new BackendError(
        'rejected',
        name,
        `Backend "${name}" stores other bytes than it was sent: check what stands between, such as a proxy at its \`endpoint\``,
      );
    }
    const readBack = (await backend.head(storageKey, signal))?.metadata['holdfast-check'];
    keepsMetadata &&= readBack === mark['holdfast-check'] && stored.metadata['holdfast-check'] === readBack;
  }
  return keepsMetadata;
}

/** Of headers that a server could think it knows better. */
const headers = {
  contentType: 'text/plain; charset=utf-8',
  cacheControl: 'max-age=60, private',
  contentDisposition: 'attachment; filename="a b.txt"',
  contentEncoding: 'gzip',
  contentLanguage: 'de-CH',
};

async function checkHeaders(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'headers');
  await backend.put(small(storageKey, 'x', { headers }), signal);
  const stored = (await backend.head(storageKey, signal))?.headers ?? {};
  return Object.entries(headers).every(([name, text]) => stored[name as keyof typeof headers] === text);
}

/** Whether overwriting leaves the former bytes behind. */
async function checkVersions(check: Check): Promise<boolean> {
  const { s3, signal } = check;
  const storageKey = keyOf(check, 'versions');
  const at = { Bucket: s3.bucket, Key: s3.fullKey(storageKey) };
  let versionId: string | undefined;
  for (const text of ['one', 'two']) {
    const input = { ...at, Body: Buffer.from(text), ContentLength: text.length };
    const answer = await s3.call('write', storageKey, signal, (sdk, sending) =>
      sdk.retrying.send(new PutObjectCommand(input), sending),
    );
    versionId = answer.VersionId;
  }
  let count: number | undefined;
  const refused = await refusal(check, async () => {
    const page = await s3.call('list the versions of', storageKey, signal, (sdk, sending) =>
      sdk.deleting.send(new ListObjectVersionsCommand({ Bucket: s3.bucket, Prefix: at.Key }), sending),
    );
    count = page.Versions?.length ?? 0;
  });
  if (count !== undefined) return count > 1;
  // Where versions cannot be listed for want of a right they may be kept; where there is no such request they are not.
  return refused === 'denied' && versionId !== undefined && versionId !== 'null';
}

async function checkConditionalPut(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'conditional-put');
  const first = await refusal(check, () => backend.put(small(storageKey, 'one', { ifAbsent: true }), signal));
  if (first !== undefined) return false;
  const second = await refusal(check, () => backend.put(small(storageKey, 'two', { ifAbsent: true }), signal));
  const third = await refusal(check, () => backend.put(small(storageKey, 'three', { ifMatch: anotherEtag }), signal));
  return second === 'precondition' && third === 'precondition' && (await textAt(check, storageKey)) === 'one';
}

async function checkConditionalCompletion(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const complete = async (storageKey: string, condition: { ifAbsent: true } | { ifMatch: string }) => {
    const { uploadId } = await backend.createUpload({ storageKey }, signal);
    try {
      const { body, sizeBytes } = small(storageKey, 'two');
      const { etag } = await backend.uploadPart({ storageKey, uploadId, partNumber: 1, sizeBytes, body }, signal);
      const parts = [{ partNumber: 1, etag, sizeBytes }];
      await backend.completeUpload({ storageKey, uploadId, parts, ...condition }, signal);
    } catch (error) {
      await refusal(check, () => backend.abortUpload(storageKey, uploadId, signal));
      throw error;
    }
  };
  const over = keyOf(check, 'conditional-completion-over');
  await backend.put(small(over, 'one'), signal);
  const matched = await refusal(check, () => complete(over, { ifMatch: anotherEtag }));
  const isCreated = await createsOnly(check, 'conditional-completion', (key) => complete(key, { ifAbsent: true }));
  return isCreated && matched === 'precondition' && (await textAt(check, over)) === 'one';
}

async function checkConditionalCopies(check: Check): Promise<boolean> {
  const { s3, backend, signal } = check;
  const from = keyOf(check, 'conditional-copy-source');
  await backend.put(small(from, 'two'), signal);
  const source = { backend: s3.name, bucket: s3.bucket, prefix: s3.prefix, storageKey: from };
  return createsOnly(check, 'conditional-copy', (storageKey) =>
    backend.copyFrom({ source, storageKey, ifAbsent: true }, signal),
  );
}

/** Whether a way to write "two" does so where nothing stands, and leaves alone what stands. */
async function createsOnly(
  check: Check,
  name: string,
  write: (storageKey: string) => Promise<unknown>,
): Promise<boolean> {
  const taken = keyOf(check, `${name}-taken`);
  await check.backend.put(small(taken, 'one'), check.signal);
  if ((await refusal(check, () => write(taken))) !== 'precondition' || (await textAt(check, taken)) !== 'one')
    return false;
  const free = keyOf(check, `${name}-free`);
  return (await refusal(check, () => write(free))) === undefined && (await textAt(check, free)) === 'two';
}

async function checkConditionalDelete(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'conditional-delete');
  const { etag } = await backend.put(small(storageKey, 'one'), signal);
  const deleting = async (ifMatch: string) => settledOf(check, await backend.delete([{ storageKey, ifMatch }], signal));
  if ((await deleting(anotherEtag)) !== 'changed' || (await textAt(check, storageKey)) !== 'one') return false;
  return (await deleting(etag)) === 'deleted' && (await textAt(check, storageKey)) === undefined;
}

/** What became of one key. That a backend does not answer says nothing about what it can do. */
async function settledOf(
  check: Check,
  [outcome]: readonly DeleteOutcome[],
): Promise<DeleteOutcome['outcome'] | undefined> {
  if (outcome !== undefined && 'error' in outcome) await refusal(check, () => Promise.reject(outcome.error));
  return outcome?.outcome;
}

/** The right digest is taken and the wrong one refused: a backend that refuses both only does not know the header. */
async function checkChecksum(check: Check): Promise<boolean> {
  const { s3, signal } = check;
  const storageKey = keyOf(check, 'checksum');
  const bytes = Buffer.from('one');
  const put = (digestOf: string) => () => {
    const checksum = createHash('sha256').update(digestOf).digest('base64');
    const input = { Bucket: s3.bucket, Key: s3.fullKey(storageKey), Body: bytes, ContentLength: bytes.length };
    return s3.call('write', storageKey, signal, (sdk, sending) =>
      sdk.once.send(new PutObjectCommand({ ...input, ChecksumSHA256: checksum }), sending),
    );
  };
  return (await refusal(check, put('one'))) === undefined && (await refusal(check, put('two'))) !== undefined;
}

async function checkBulkDelete(check: Check): Promise<boolean> {
  const { s3, backend, signal } = check;
  const storageKeys = [keyOf(check, 'bulk one & only'), keyOf(check, 'bulk-two')];
  for (const storageKey of storageKeys) await backend.put(small(storageKey, 'x'), signal);
  const refused = await refusal(check, () =>
    s3.call('delete', storageKeys[0]!, signal, (sdk, sending) =>
      sdk.deleting.send(
        new DeleteObjectsCommand({
          Bucket: s3.bucket,
          Delete: { Objects: storageKeys.map((storageKey) => ({ Key: s3.fullKey(storageKey) })) },
        }),
        sending,
      ),
    ),
  );
  if (refused !== undefined) return false;
  for (const storageKey of storageKeys) {
    if ((await textAt(check, storageKey)) !== undefined) return false;
  }
  return true;
}

async function checkTags(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  const storageKey = keyOf(check, 'tags');
  const tags = { 'holdfast check': 'a b+c' };
  await backend.put(small(storageKey, 'x', { tags }), signal);
  return JSON.stringify(await backend.tags(storageKey, signal)) === JSON.stringify(tags);
}

async function checkPartCopy(check: Check): Promise<boolean> {
  const { s3, backend, signal } = check;
  const from = keyOf(check, 'part copy source');
  const to = keyOf(check, 'part-copy-target');
  const at = { Bucket: s3.bucket, Key: s3.fullKey(to) };
  await backend.put(small(from, 'copied bytes'), signal);
  let uploadId: string | undefined;
  const refused = await refusal(check, async () => {
    ({ uploadId } = await backend.createUpload({ storageKey: to }, signal));
    const upload = { ...at, UploadId: uploadId };
    const source = pathOf(s3.bucket, s3.fullKey(from));
    const { CopyPartResult: part } = await s3.call('copy a part of', from, signal, (sdk, sending) =>
      sdk.retrying.send(new UploadPartCopyCommand({ ...upload, PartNumber: 1, CopySource: source }), sending),
    );
    const parts = { Parts: [{ PartNumber: 1, ...defined({ ETag: part?.ETag }) }] };
    await s3.call('complete the upload of', to, signal, (sdk, sending) =>
      sdk.once.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: parts }), sending),
    );
  });
  if (refused !== undefined && uploadId !== undefined)
    await refusal(check, () => backend.abortUpload(to, uploadId!, signal));
  return refused === undefined && (await textAt(check, to)) === 'copied bytes';
}

/** Of bytes that nobody said the SHA-256 of before, so that it can only be right if it was computed. */
async function checkCopy(check: Check): Promise<boolean> {
  const { s3, backend, signal } = check;
  const from = keyOf(check, 'copy source & \u00e9');
  const to = keyOf(check, 'copy-target');
  await backend.put(small(from, 'copied bytes', { metadata: { 'holdfast-check': 'of the source' } }), signal);
  const source = { backend: s3.name, bucket: s3.bucket, prefix: s3.prefix, storageKey: from };
  let attested: string | undefined;
  const refused = await refusal(check, async () => {
    const { sha256 } = await backend.copyFrom({ source, storageKey: to, metadata: mark }, signal);
    attested = sha256;
  });
  // Without a condition on the source, other bytes could be copied than were recorded.
  const another = { source: { ...source, ifMatch: anotherEtag }, storageKey: keyOf(check, 'copy-of-another') };
  if ((await refusal(check, () => backend.copyFrom(another, signal))) !== 'precondition') return false;
  if (refused !== undefined || attested !== createHash('sha256').update('copied bytes').digest('hex')) return false;
  const readBack = (await backend.head(to, signal))?.metadata['holdfast-check'];
  return readBack === mark['holdfast-check'] && (await textAt(check, to)) === 'copied bytes';
}

/** Not cancelled with the check: what it wrote goes. */
async function cleanUp(
  options: Omit<S3ConnectionOptions, 'capabilities'>,
  can: Capabilities,
  storageKeys: Iterable<string>,
): Promise<void> {
  const s3 = connectS3({ ...options, capabilities: can });
  try {
    const outcomes = await backendOn(s3).delete([...storageKeys].map((storageKey) => ({ storageKey })));
    for (const outcome of outcomes) if ('error' in outcome) throw outcome.error;
  } finally {
    s3.close();
  }
}

function patterned(sizeBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  for (let i = 0; i < sizeBytes; i += 1) bytes[i] = (i * 7 + (i >>> 8)) & 0xff;
  return bytes;
}

async function* inTwo(bytes: Uint8Array): Body {
  yield bytes.subarray(0, bytes.length >>> 1);
  yield bytes.subarray(bytes.length >>> 1);
}
