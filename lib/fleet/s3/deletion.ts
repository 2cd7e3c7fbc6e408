import { DeleteObjectCommand, DeleteObjectsCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { defined } from '../../base/defined.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { BackendError, type DeleteOutcome, type DeleteRequest } from '../backend.ts';
import type { S3Connection } from './connection.ts';
import { backendError, kindOfCode } from './errors.ts';
import { decodeKey } from './listing.ts';

/** Bytes to delete: the current ones of a key, or one version of them. */
interface Target {
  readonly storageKey: string;
  readonly versionId?: string;
}

const maxBatch = 1000;
const singleDeletes = 16;

/** Keys that an XML document cannot hold, or that its readers trim or fold. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are the keys it looks for
const unfitForXml = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff]|^\s|\s$/u;

/** Deletes the bytes each request names; every version of them where the bucket keeps versions. */
export async function deleteObjects(
  s3: S3Connection,
  requests: readonly DeleteRequest[],
  signal?: AbortSignal,
): Promise<readonly DeleteOutcome[]> {
  const outcomes: DeleteOutcome[] = requests.map(() => ({ outcome: 'deleted' }));
  const unconditional: { readonly index: number; readonly targets: readonly Target[] }[] = [];
  await forEachConcurrently(requests.entries(), singleDeletes, async ([index, request]) => {
    const { storageKey, ifMatch } = request;
    if (ifMatch !== undefined) outcomes[index] = await deleteIfMatch(s3, storageKey, ifMatch, signal);
    else if (s3.capabilities.keepsVersions !== true) unconditional.push({ index, targets: [{ storageKey }] });
    else unconditional.push({ index, targets: await versionsOf(s3, storageKey, signal) });
  });
  const jobs = unconditional.flatMap(({ index, targets }) => targets.map((target) => ({ index, target })));
  const failures = await deleteTargets(
    s3,
    jobs.map((job) => job.target),
    signal,
  );
  for (const [at, error] of failures) outcomes[jobs[at]!.index] = { outcome: 'failed', error };
  return outcomes;
}

/** The errors about single targets, by their index. */
async function deleteTargets(
  s3: S3Connection,
  targets: readonly Target[],
  signal: AbortSignal | undefined,
): Promise<Map<number, BackendError>> {
  const failures = new Map<number, BackendError>();
  const isBulky = s3.capabilities.bulkDelete !== false && targets.length > 1;
  const bulk: number[] = [];
  let singly: number[] = [];
  for (const [at, target] of targets.entries()) (isBulky && isFitForXml(target.storageKey) ? bulk : singly).push(at);
  for (let from = 0; from < bulk.length; from += maxBatch) {
    const batch = bulk.slice(from, from + maxBatch);
    singly = singly.concat(await deleteBatch(s3, batch, targets, failures, signal));
  }
  await forEachConcurrently(singly, singleDeletes, async (at) => {
    const error = await deleteOne(s3, targets[at]!, signal);
    if (error) failures.set(at, error);
  });
  return failures;
}

/** Sends one DeleteObjects. Notes its errors, and returns the targets it was silent about: nothing is known of those. */
async function deleteBatch(
  s3: S3Connection,
  batch: readonly number[],
  targets: readonly Target[],
  failures: Map<number, BackendError>,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const first = targets[batch[0]!]!;
  const answer = await s3.call(`delete ${batch.length} keys from`, first.storageKey, signal, (sending) =>
    s3.deleting.send(
      new DeleteObjectsCommand({
        Bucket: s3.bucket,
        Delete: {
          Objects: batch.map((at) => ({
            Key: s3.fullKey(targets[at]!.storageKey),
            ...(targets[at]!.versionId === undefined ? {} : { VersionId: targets[at]!.versionId }),
          })),
        },
      }),
      sending,
    ),
  );
  const deleted = new Set(answer.Deleted?.map((entry) => identity(entry.Key, entry.VersionId)));
  const refused = new Map(answer.Errors?.map((entry) => [identity(entry.Key, entry.VersionId), entry]));
  const unanswered: number[] = [];
  for (const at of batch) {
    const { storageKey, versionId } = targets[at]!;
    const id = identity(s3.fullKey(storageKey), versionId);
    const { Code: code = 'InternalError', Message: message = '' } = refused.get(id) ?? {};
    if (!refused.has(id)) {
      if (!deleted.has(id)) unanswered.push(at);
    } else if (kindOfCode(code) !== 'not-found') {
      const whatIsSo = `the backend answered ${code}${message && ` (${message})`}`;
      failures.set(at, backendError(kindOfCode(code), s3.attempted('delete', storageKey), whatIsSo));
    }
  }
  return unanswered;
}

/** Undefined once nothing is there. What is not about the key, but about the backend as a whole, is thrown. */
async function deleteOne(
  s3: S3Connection,
  { storageKey, versionId }: Target,
  signal: AbortSignal | undefined,
): Promise<BackendError | undefined> {
  try {
    await s3.call('delete', storageKey, signal, (sending) =>
      s3.deleting.send(
        new DeleteObjectCommand({
          Bucket: s3.bucket,
          Key: s3.fullKey(storageKey),
          ...defined({ VersionId: versionId }),
        }),
        sending,
      ),
    );
    return undefined;
  } catch (error) {
    return aboutTheKey(error);
  }
}

async function deleteIfMatch(
  s3: S3Connection,
  storageKey: string,
  ifMatch: string,
  signal: AbortSignal | undefined,
): Promise<DeleteOutcome> {
  if (s3.capabilities.conditionalDelete !== true) {
    // A backend that does not know If-Match would delete whatever is there.
    const whatIsSo = 'it is not known to delete on a condition';
    return { outcome: 'failed', error: backendError('unsupported', s3.attempted('delete', storageKey), whatIsSo) };
  }
  try {
    const input = { Bucket: s3.bucket, Key: s3.fullKey(storageKey), IfMatch: ifMatch };
    await s3.call('delete', storageKey, signal, (sending) => s3.deleting.send(new DeleteObjectCommand(input), sending));
    return { outcome: 'deleted' };
  } catch (error) {
    if (error instanceof BackendError && error.kind === 'precondition') return { outcome: 'changed' };
    const failure = aboutTheKey(error);
    return failure ? { outcome: 'failed', error: failure } : { outcome: 'deleted' };
  }
}

function aboutTheKey(error: unknown): BackendError | undefined {
  if (!(error instanceof BackendError)) throw error;
  if (error.kind === 'not-found' || error.kind === 'delete-marker') return undefined;
  const isAnswered = error.speaksOf === 'unclear' && !error.isUnanswered && error.kind !== 'no-bucket';
  if (error.speaksOf === 'object' || isAnswered) return error;
  throw error;
}

/** Every version and delete marker of exactly this key. */
async function versionsOf(s3: S3Connection, storageKey: string, signal: AbortSignal | undefined): Promise<Target[]> {
  const key = s3.fullKey(storageKey);
  const found: Target[] = [];
  let after: { readonly KeyMarker: string; readonly VersionIdMarker?: string } | undefined;
  for (;;) {
    const page = await s3.call('list the versions of', storageKey, signal, (sending) =>
      s3.deleting.send(
        new ListObjectVersionsCommand({ Bucket: s3.bucket, Prefix: key, EncodingType: 'url', ...after }),
        sending,
      ),
    );
    const fail = (whatIsSo: string) =>
      backendError('unavailable', s3.attempted('list the versions of', storageKey), whatIsSo);
    if (page.IsTruncated === undefined) throw fail('its answer is no listing');
    const entries = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
    let hasOthers = false;
    for (const entry of entries) {
      if (decodeKey(entry.Key ?? '', page.EncodingType) !== key) hasOthers = true;
      else if (entry.VersionId !== undefined) found.push({ storageKey, versionId: entry.VersionId });
    }
    // In byte order a key comes before all that begin with it.
    const isPast = hasOthers && s3.capabilities.listsInByteOrder === true;
    if (!page.IsTruncated || isPast) return found;
    const keyMarker = decodeKey(page.NextKeyMarker ?? '', page.EncodingType);
    const marker = page.NextVersionIdMarker;
    if (!keyMarker || (keyMarker === after?.KeyMarker && marker === after.VersionIdMarker)) {
      throw fail('its listing says that there is more, but not where');
    }
    after = { KeyMarker: keyMarker, ...defined({ VersionIdMarker: marker }) };
  }
}

function isFitForXml(storageKey: string): boolean {
  return !unfitForXml.test(storageKey) && storageKey.isWellFormed();
}

function identity(key: string | undefined, versionId: string | undefined): string {
  return `${key ?? ''}\n${versionId ?? ''}`;
}
