import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  type DeleteObjectsCommandOutput,
  ListObjectVersionsCommand,
} from '@aws-sdk/client-s3';
import { defined } from '../../base/defined.ts';
import { createPageWatch } from '../../base/page-trail.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { BackendError, type DeleteOutcome, type DeleteRequest } from '../backend.ts';
import type { S3Connection } from './connection.ts';
import { backendError, kindOfCode } from './errors.ts';
import { decodeKey } from './listing.ts';
import { headObject } from './read.ts';

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

/**
 * Deletes the bytes each request names; every version of them where the bucket keeps versions. Never throws a `BackendError`:
 * what one key is answered is that key's outcome, and what a request that names several is answered is the outcome of each.
 */
export async function deleteObjects(
  s3: S3Connection,
  requests: readonly DeleteRequest[],
  signal?: AbortSignal,
): Promise<readonly DeleteOutcome[]> {
  const plans: Plan[] = new Array(requests.length);
  await forEachConcurrently([...requests.entries()], singleDeletes, async ([i, request]) => {
    plans[i] = await planOf(s3, request, signal);
  });
  const jobs = plans.flatMap((plan, i) => ('targets' in plan ? plan.targets.map((target) => ({ i, target })) : []));
  const failures = await deleteTargets(
    s3,
    jobs.map(({ target }) => target),
    signal,
  );
  return plans.map((plan, i) => {
    if ('outcome' in plan) return plan;
    const failed = jobs.flatMap((job, at) => (job.i === i ? (failures.get(at) ?? []) : []));
    return failed.find(({ outcome }) => outcome === 'failed') ?? failed[0] ?? { outcome: 'deleted' };
  });
}

/** What a request comes to: bytes to delete, or its outcome already. */
type Plan = DeleteOutcome | { readonly targets: readonly Target[] };

/** What is not `deleted`: about one key, or about a request that named several. */
type Failure = Extract<DeleteOutcome, { readonly error: BackendError }>;

async function planOf(s3: S3Connection, request: DeleteRequest, signal: AbortSignal | undefined): Promise<Plan> {
  const { storageKey, ifMatch } = request;
  try {
    if (ifMatch !== undefined) return await deleteIfMatch(s3, storageKey, ifMatch, signal);
    if (s3.capabilities.keepsVersions !== true) return { targets: [{ storageKey }] };
    const targets = await versionsOf(s3, storageKey, signal);
    if (targets.length > 0 || (await headObject(s3, storageKey, signal)) === null) return { targets };
    throw backendError('unavailable', s3.attempted('delete', storageKey), 'it lists no version of what is there');
  } catch (error) {
    return failureOf(error) ?? { outcome: 'deleted' };
  }
}

/** What is not there any more is deleted. */
function failureOf(error: unknown): Failure | undefined {
  if (!(error instanceof BackendError)) throw error;
  if (error.kind === 'not-found' || error.kind === 'delete-marker') return undefined;
  return { outcome: 'failed', error };
}

/** What could not be deleted, by its index. */
async function deleteTargets(
  s3: S3Connection,
  targets: readonly Target[],
  signal: AbortSignal | undefined,
): Promise<Map<number, Failure>> {
  const failures = new Map<number, Failure>();
  const isBulky = s3.capabilities.bulkDelete !== false && targets.length > 1;
  const bulk: number[] = [];
  let singly: number[] = [];
  for (const [at, target] of targets.entries()) (isBulky && isFitForXml(target.storageKey) ? bulk : singly).push(at);
  for (let from = 0; from < bulk.length; from += maxBatch) {
    const batch = bulk.slice(from, from + maxBatch);
    singly = singly.concat(await deleteBatch(s3, batch, targets, failures, signal));
  }
  await forEachConcurrently(singly, singleDeletes, async (at) => {
    const failure = await deleteOne(s3, targets[at]!, signal);
    if (failure) failures.set(at, failure);
  });
  return failures;
}

/** Sends one DeleteObjects. Notes what failed, and returns the targets it was silent about: nothing is known of those. */
async function deleteBatch(
  s3: S3Connection,
  batch: readonly number[],
  targets: readonly Target[],
  failures: Map<number, Failure>,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  let answer: DeleteObjectsCommandOutput;
  try {
    answer = await sendBatch(
      s3,
      batch.map((at) => targets[at]!),
      signal,
    );
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // Versions of one key: they are asked about one by one, since nobody else could.
    if (new Set(batch.map((at) => targets[at]!.storageKey)).size === 1) return [...batch];
    for (const at of batch) failures.set(at, { outcome: 'unsettled', error });
    return [];
  }
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
      const error = backendError(kindOfCode(code), s3.attempted('delete', storageKey), whatIsSo);
      failures.set(at, { outcome: 'failed', error });
    }
  }
  return unanswered;
}

function sendBatch(s3: S3Connection, targets: readonly Target[], signal: AbortSignal | undefined) {
  const Objects = targets.map(({ storageKey, versionId }) => ({
    Key: s3.fullKey(storageKey),
    ...defined({ VersionId: versionId }),
  }));
  return s3.call(`delete ${targets.length} keys from`, targets[0]!.storageKey, signal, (sdk, sending) =>
    sdk.deleting.send(new DeleteObjectsCommand({ Bucket: s3.bucket, Delete: { Objects } }), sending),
  );
}

/** Undefined once nothing is there. */
async function deleteOne(
  s3: S3Connection,
  { storageKey, versionId }: Target,
  signal: AbortSignal | undefined,
): Promise<Failure | undefined> {
  try {
    await s3.call('delete', storageKey, signal, (sdk, sending) =>
      sdk.deleting.send(
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
    return failureOf(error);
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
    await s3.call('delete', storageKey, signal, (sdk, sending) =>
      sdk.deleting.send(new DeleteObjectCommand(input), sending),
    );
    return { outcome: 'deleted' };
  } catch (error) {
    if (error instanceof BackendError && error.kind === 'precondition')
      return { outcome: (await isGone(s3, storageKey, signal)) ? 'deleted' : 'changed' };
    return failureOf(error) ?? { outcome: 'deleted' };
  }
}

/** Some say that a condition failed where there was nothing to meet it. */
async function isGone(s3: S3Connection, storageKey: string, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    return (await headObject(s3, storageKey, signal)) === null;
  } catch (error) {
    if (error instanceof BackendError) return false;
    throw error;
  }
}

/** Every version and delete marker of exactly this key. */
async function versionsOf(s3: S3Connection, storageKey: string, signal: AbortSignal | undefined): Promise<Target[]> {
  const key = s3.fullKey(storageKey);
  const found = new Set<string>();
  const watch = createPageWatch();
  let after: { readonly KeyMarker: string; readonly VersionIdMarker?: string } | undefined;
  for (;;) {
    const page = await s3.call('list the versions of', storageKey, signal, (sdk, sending) =>
      sdk.deleting.send(
        new ListObjectVersionsCommand({ Bucket: s3.bucket, Prefix: key, EncodingType: 'url', ...after }),
        sending,
      ),
    );
    const fail = (whatIsSo: string) =>
      backendError('unavailable', s3.attempted('list the versions of', storageKey), whatIsSo);
    if (page.IsTruncated === undefined) throw fail('its answer is no listing');
    const entries = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
    const before = found.size;
    let hasOthers = false;
    for (const entry of entries) {
      if (decodeKey(entry.Key ?? '', page.EncodingType) !== key) hasOthers = true;
      else if (entry.VersionId === undefined) throw fail('it lists a version without its id');
      else found.add(entry.VersionId);
    }
    // In byte order a key comes before all that begin with it.
    const isPast = hasOthers && s3.capabilities.listsInByteOrder === true;
    if (!page.IsTruncated || isPast) return [...found].map((versionId) => ({ storageKey, versionId }));
    const keyMarker = decodeKey(page.NextKeyMarker ?? '', page.EncodingType);
    const marker = page.NextVersionIdMarker;
    const next = identity(keyMarker, marker);
    const isEnding = watch.comesToAnEnd(next, found.size > before);
    if (!keyMarker || !isEnding) throw fail('its listing says that there is more, but not where');
    after = { KeyMarker: keyMarker, ...defined({ VersionIdMarker: marker }) };
  }
}

function isFitForXml(storageKey: string): boolean {
  return !unfitForXml.test(storageKey) && storageKey.isWellFormed();
}

function identity(key: string | undefined, versionId: string | undefined): string {
  return `${key ?? ''}\n${versionId ?? ''}`;
}
