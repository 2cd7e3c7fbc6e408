import { createHash } from 'node:crypto';
import {
  CompleteMultipartUploadCommand,
  DeleteObjectsCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { type Body, bodyOf, collect, compareUtf8 } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Ids } from '../base/ids.ts';
import {
  type Backend,
  BackendError,
  type Capabilities,
  type DeleteOutcome,
  type ListFrom,
  type PutRequest,
} from './backend.ts';
import { connectS3, type S3Connection, type S3ConnectionOptions } from './s3/connection.ts';
import { pathOf } from './s3/copy.ts';
import { backendOn } from './s3-backend.ts';

/** Where the capability checks write: below the backend's prefix, one folder for each run. */
export const capabilitiesPrefix = '.holdfast/capabilities/';

/** One check in progress. */
interface Check {
  readonly s3: S3Connection;
  readonly backend: Backend;
  /** A key of this check; its bytes are removed at the end. */
  key(name: string): string;
  readonly signal: AbortSignal | undefined;
}

/** Everything is tried, whatever is believed so far. */
const everyCapability: Capabilities = {
  conditionalPut: true,
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
  const key = (name: string) => {
    written.add(folder + name);
    return folder + name;
  };
  const check: Check = { s3, backend: backendOn(s3), key, signal };
  let found: Capabilities = {};
  try {
    const keepsMetadata = await checkBytes(check);
    found = { keepsMetadata, keepsVersions: await checkVersions(check) };
    found = {
      ...found,
      conditionalPut: await checkConditionalPut(check),
      conditionalDelete: await checkConditionalDelete(check),
      checksumSha256: await checkChecksum(check),
      bulkDelete: await checkBulkDelete(check),
      listsInByteOrder: await checkOrder(check, folder),
      partCopy: await checkPartCopy(check),
      attestsCopies: await checkCopy(check),
    };
  } catch (error) {
    await cleanUp(options, found, written).catch(() => {}); // the first error says more
    throw error;
  } finally {
    s3.close();
  }
  await cleanUp(options, found, written);
  return found;
}

const mark = { 'holdfast-check': 'a mark; of = two' };

/** Writes as objects will be written, small and streamed, and reads back. Returns whether user metadata came back too. */
async function checkBytes({ backend, key, signal }: Check): Promise<boolean> {
  let keepsMetadata = true;
  for (const sizeBytes of [0, 1000, 300 * 1024]) {
    const bytes = patterned(sizeBytes);
    const storageKey = key(`bytes-${sizeBytes}`);
    await backend.put({ storageKey, sizeBytes, body: inTwo(bytes), metadata: mark }, signal);
    const stored = await backend.get(storageKey, {}, signal);
    if (!(await collect(stored.body)).equals(bytes)) {
      const { name } = backend;
      throw new BackendError('rejected', name, `Backend "${name}" stores other bytes than it was sent`);
    }
    const readBack = (await backend.head(storageKey, signal))?.metadata['holdfast-check'];
    keepsMetadata &&= readBack === mark['holdfast-check'] && stored.metadata['holdfast-check'] === readBack;
  }
  return keepsMetadata;
}

/** Whether overwriting leaves the former bytes behind. */
async function checkVersions({ s3, key, signal }: Check): Promise<boolean> {
  const storageKey = key('versions');
  const at = { Bucket: s3.bucket, Key: s3.fullKey(storageKey) };
  let versionId: string | undefined;
  for (const text of ['one', 'two']) {
    const input = { ...at, Body: Buffer.from(text), ContentLength: text.length };
    const answer = await s3.call('write', storageKey, signal, (sending) =>
      s3.retrying.send(new PutObjectCommand(input), sending),
    );
    versionId = answer.VersionId;
  }
  let count: number | undefined;
  await refusal(async () => {
    const page = await s3.call('list the versions of', storageKey, signal, (sending) =>
      s3.deleting.send(new ListObjectVersionsCommand({ Bucket: s3.bucket, Prefix: at.Key }), sending),
    );
    count = page.Versions?.length ?? 0;
  });
  return count === undefined ? versionId !== undefined && versionId !== 'null' : count > 1;
}

async function checkConditionalPut({ backend, key, signal }: Check): Promise<boolean> {
  const storageKey = key('conditional-put');
  const first = await refusal(() => backend.put(small(storageKey, 'one', { ifAbsent: true }), signal));
  if (first !== undefined) return false;
  const second = await refusal(() => backend.put(small(storageKey, 'two', { ifAbsent: true }), signal));
  const third = await refusal(() => backend.put(small(storageKey, 'three', { ifMatch: anotherEtag }), signal));
  return second === 'precondition' && third === 'precondition' && (await textAt(backend, storageKey, signal)) === 'one';
}

async function checkConditionalDelete({ backend, key, signal }: Check): Promise<boolean> {
  const storageKey = key('conditional-delete');
  const { etag } = await backend.put(small(storageKey, 'one'), signal);
  const deleting = async (ifMatch: string) => settledOf(await backend.delete([{ storageKey, ifMatch }], signal));
  if ((await deleting(anotherEtag)) !== 'changed' || (await textAt(backend, storageKey, signal)) !== 'one')
    return false;
  return (await deleting(etag)) === 'deleted' && (await textAt(backend, storageKey, signal)) === undefined;
}

/** What became of one key. That a backend does not answer says nothing about what it can do. */
async function settledOf([outcome]: readonly DeleteOutcome[]): Promise<DeleteOutcome['outcome'] | undefined> {
  if (outcome !== undefined && 'error' in outcome) await refusal(() => Promise.reject(outcome.error));
  return outcome?.outcome;
}

/** The right digest is taken and the wrong one refused: a backend that refuses both only does not know the header. */
async function checkChecksum({ s3, key, signal }: Check): Promise<boolean> {
  const storageKey = key('checksum');
  const bytes = Buffer.from('one');
  const put = (digestOf: string) => () => {
    const checksum = createHash('sha256').update(digestOf).digest('base64');
    const input = { Bucket: s3.bucket, Key: s3.fullKey(storageKey), Body: bytes, ContentLength: bytes.length };
    return s3.call('write', storageKey, signal, (sending) =>
      s3.once.send(new PutObjectCommand({ ...input, ChecksumSHA256: checksum }), sending),
    );
  };
  return (await refusal(put('one'))) === undefined && (await refusal(put('two'))) !== undefined;
}

async function checkBulkDelete({ s3, backend, key, signal }: Check): Promise<boolean> {
  const storageKeys = [key('bulk one & only'), key('bulk-two')];
  for (const storageKey of storageKeys) await backend.put(small(storageKey, 'x'), signal);
  const refused = await refusal(() =>
    s3.call('delete', storageKeys[0]!, signal, (sending) =>
      s3.deleting.send(
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
    if ((await textAt(backend, storageKey, signal)) !== undefined) return false;
  }
  return true;
}

/** Whether listings come in the order of UTF-8 bytes and go on after a key, in pages smaller than the whole. */
async function checkOrder({ backend, key, signal }: Check, folder: string): Promise<boolean> {
  const names = ['a', 'a-b', 'a/b', 'aB', 'ab', '\u00e9', '\uff5e', '\u{1f680}'];
  const wanted = names.map((name) => key(`order/${name}`)).sort(compareUtf8);
  for (const storageKey of wanted) await backend.put(small(storageKey, 'x'), signal);
  const seen: string[] = [];
  const refused = await refusal(async () => {
    let from: ListFrom | undefined;
    do {
      const options = { prefix: `${folder}order/`, limit: 3, ...defined({ from }) };
      const page = await backend.list(options, signal);
      seen.push(...page.items.map((item) => item.storageKey));
      from = page.next;
    } while (from !== undefined && seen.length <= wanted.length);
  });
  return refused === undefined && JSON.stringify(seen) === JSON.stringify(wanted);
}

async function checkPartCopy({ s3, backend, key, signal }: Check): Promise<boolean> {
  const from = key('part copy source');
  const to = key('part-copy-target');
  const at = { Bucket: s3.bucket, Key: s3.fullKey(to) };
  await backend.put(small(from, 'copied bytes'), signal);
  let uploadId: string | undefined;
  const refused = await refusal(async () => {
    ({ uploadId } = await backend.createUpload({ storageKey: to }, signal));
    const upload = { ...at, UploadId: uploadId };
    const source = pathOf(s3.bucket, s3.fullKey(from));
    const { CopyPartResult: part } = await s3.call('copy a part of', from, signal, (sending) =>
      s3.retrying.send(new UploadPartCopyCommand({ ...upload, PartNumber: 1, CopySource: source }), sending),
    );
    const parts = { Parts: [{ PartNumber: 1, ...(part?.ETag === undefined ? {} : { ETag: part.ETag }) }] };
    await s3.call('complete the upload of', to, signal, (sending) =>
      s3.once.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: parts }), sending),
    );
  });
  if (refused !== undefined && uploadId !== undefined) await refusal(() => backend.abortUpload(to, uploadId!, signal));
  return refused === undefined && (await textAt(backend, to, signal)) === 'copied bytes';
}

/** Of bytes that nobody said the SHA-256 of before, so that it can only be right if it was computed. */
async function checkCopy({ s3, backend, key, signal }: Check): Promise<boolean> {
  const from = key('copy source & \u00e9');
  const to = key('copy-target');
  await backend.put(small(from, 'copied bytes', { metadata: { 'holdfast-check': 'of the source' } }), signal);
  const source = { backend: s3.name, bucket: s3.bucket, prefix: s3.prefix, storageKey: from };
  let attested: string | undefined;
  const refused = await refusal(async () => {
    const { sha256 } = await backend.copyFrom({ source, storageKey: to, metadata: mark }, signal);
    attested = sha256;
  });
  if (refused !== undefined || attested !== createHash('sha256').update('copied bytes').digest('hex')) return false;
  const readBack = (await backend.head(to, signal))?.metadata['holdfast-check'];
  return readBack === mark['holdfast-check'] && (await textAt(backend, to, signal)) === 'copied bytes';
}

/** Not cancelled with the check: what it wrote goes. */
async function cleanUp(
  options: Omit<S3ConnectionOptions, 'capabilities'>,
  found: Capabilities,
  storageKeys: Iterable<string>,
): Promise<void> {
  const s3 = connectS3({ ...options, capabilities: found });
  try {
    const outcomes = await backendOn(s3).delete([...storageKeys].map((storageKey) => ({ storageKey })));
    for (const outcome of outcomes) if ('error' in outcome) throw outcome.error;
  } finally {
    s3.close();
  }
}

const anotherEtag = '"00000000000000000000000000000000"';

/** The kind a request was refused with, undefined when it was not. A backend that cannot be asked at all is an error. */
async function refusal(attempt: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await attempt();
    return undefined;
  } catch (error) {
    if (!(error instanceof BackendError) || error.isUnanswered) throw error;
    if (error.speaksOf === 'object' || error.speaksOf === 'unclear') return error.kind;
    throw error;
  }
}

async function textAt(backend: Backend, storageKey: string, signal?: AbortSignal): Promise<string | undefined> {
  const text = async () => (await collect((await backend.get(storageKey, {}, signal)).body)).toString();
  let found: string | undefined;
  await refusal(async () => {
    found = await text();
  });
  return found;
}

function small(storageKey: string, text: string, more: Partial<PutRequest> = {}): PutRequest {
  const bytes = Buffer.from(text);
  return { storageKey, sizeBytes: bytes.length, body: bodyOf(bytes), ...more };
}

function patterned(sizeBytes: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 7 + (i >>> 8)) & 0xff));
}

async function* inTwo(bytes: Uint8Array): Body {
  yield bytes.subarray(0, bytes.length >>> 1);
  yield bytes.subarray(bytes.length >>> 1);
}
