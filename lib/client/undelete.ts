import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { keyIdsOf } from '../config/encryption.ts';
import { policyOf } from '../config/fleet-file.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import { copyIdOf } from '../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../store/model.ts';
import { bytesOf } from '../store/queue-items.ts';
import { bornAs, contentOf, newRecord } from '../store/records.ts';
import { isOfLostTime } from '../store/recovery.ts';
import { carriesMark, markedFileProblem, markName } from '../transfer/mark.ts';
import { readCopy } from '../transfer/read-copy.ts';
import { readTags } from '../transfer/read-tags.ts';
import { WrongBytes } from '../transfer/verify.ts';
import { type ClientContext, checkKey, type Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
import { type Put, SourceGoneError } from './put-bytes.ts';
import { writeCopies } from './put-copies.ts';
import { makeRecord } from './put-record.ts';
import { secure } from './put-secured.ts';
import { readEntry } from './read-entry.ts';
import { findWaiting, type WaitingContent } from './waiting-bytes.ts';

export interface UndeleteOptions {
  /** Which of the contents that wait [the one that was deleted or overwritten last]. */
  readonly generation?: string;
  /** How long to try, in milliseconds [300 000]. */
  readonly timeoutMs?: number;
}

/** A content that is the object again, under a generation of its own. */
export interface UndeleteResult {
  readonly key: string;
  readonly generation: string;
  /** The generation that it had before it was deleted or overwritten. */
  readonly undeleted: string;
  readonly sizeBytes: number;
  readonly sha256?: string;
}

/** Bytes that wait, and were read in full and found good. */
interface GoodBytes {
  readonly item: QueueItem;
  /** What was read: what the item did not know of it is known now. */
  readonly content: Pick<ObjectRecord, 'sha256' | 'headersSha256'>;
  /** What is stored beside them, for their copies. */
  readonly beside: Put['options'];
}

/** An undelete on its way. */
interface Undelete {
  readonly put: Put;
  readonly fleet: Fleet;
  /** What is there now, and is to be there until the content is back. */
  readonly seen: Entry | null;
  readonly good: readonly GoodBytes[];
}

/**
 * Brings a content back that was deleted or overwritten, while its bytes wait for their deletion. They are read in full first.
 * Bytes that nobody ever claimed for deletion are recorded where they are, on condition that still nobody has; a claimant may
 * be about to delete them however old its claim is, so those that were claimed are copied to a fresh key. It is another
 * generation: what went by the old one stays over. Nothing that was put or deleted since is overwritten.
 *
 * @throws HoldfastError `not-waiting` nothing of the key can be brought back · `unreadable` none of it verifies ·
 * `precondition` the object was put or deleted meanwhile · as a put does
 */
export async function undelete(
  context: ClientContext,
  key: string,
  options: UndeleteOptions = {},
): Promise<UndeleteResult> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  const seen = await readEntry(context, key);
  const content = chosen(key, await findWaiting(context, fleet, key, seen), options.generation);
  const good = await verified(context, fleet, content);
  const put = await putOf(context, fleet, seen, good[0]!, options);
  await bringBack({ put, fleet, seen, good });
  const { sizeBytes, encryption, sha256 } = put.content;
  const plain =
    encryption === undefined
      ? { sizeBytes, sha256 }
      : { sizeBytes: encryption.plaintextBytes, ...defined({ sha256: encryption.plaintextSha256 }) };
  return { key, generation: put.generation, undeleted: content.generation, ...plain };
}

/** The contents of a key that `undelete` could bring back, those that left last first. */
export async function waitingOf(context: ClientContext, key: string): Promise<readonly WaitingContent[]> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  return findWaiting(context, fleet, key, await readEntry(context, key));
}

function chosen(key: string, waiting: readonly WaitingContent[], generation: string | undefined): WaitingContent {
  const found = waiting.find((one) => generation === undefined || one.generation === generation);
  if (found !== undefined) return found;
  const names = waiting.map((one) => one.generation).join(', ');
  const others = names === '' ? 'what left in the last seconds may not be listed yet' : `there are ${names}`;
  const what = generation === undefined ? 'no bytes' : `no bytes of generation ${generation}`;
  throw new HoldfastError('not-waiting', `Cannot bring "${key}" back: ${what} wait for their deletion; ${others}`);
}

/** Reads every copy that waits. Throws `unreadable` when none is good. */
async function verified(
  context: ClientContext,
  fleet: Fleet,
  { items, generation }: WaitingContent,
): Promise<readonly GoodBytes[]> {
  const good: GoodBytes[] = [];
  const problems: string[] = [];
  for (const item of items) {
    const reading = await readWaiting(context, fleet, item);
    if ('content' in reading) good.push(reading);
    else problems.push(reading.problem);
  }
  if (good.length > 0) return good;
  const [{ key }] = items as [QueueItem];
  throw new HoldfastError(
    'unreadable',
    `Cannot bring "${key}" back as it was in generation ${generation}: ${problems.join('; ')}`,
  );
}

async function readWaiting(
  context: ClientContext,
  fleet: Fleet,
  item: QueueItem,
): Promise<GoodBytes | { readonly problem: string }> {
  const { backend } = item;
  if (fleet.standing(backend).config === undefined) return { problem: `"${backend}" is not in the fleet file` };
  // What other tables say of the bucket is not known here: they may be deleting these bytes.
  const obstacle = await context.obstacle(fleet, backend);
  if (obstacle !== null) return { problem: obstacle };
  const { encryption } = item;
  if (encryption !== undefined && !keyIdsOf(fleet.file).includes(encryption.keyId))
    return { problem: `its encryption key "${encryption.keyId}" is not in the fleet file` };
  try {
    const from = await context.backend(fleet, backend);
    const isMarked = item.storageKey === item.key && carriesMark((await from.head(item.storageKey))?.metadata ?? {});
    if (isMarked) return { problem: `the file on "${backend}" ${markedFileProblem}` };
    const reading = await readCopy(from, asRecord(fleet, item));
    if (reading.outcome === 'good') {
      const content = { sha256: reading.digest.sha256, headersSha256: reading.headersSha256 };
      return { item, content, beside: await besideOf(context, fleet, item) };
    }
    const detail = 'detail' in reading ? `: ${reading.detail}` : 'error' in reading ? `: ${reading.error.message}` : '';
    return { problem: `on "${backend}" it is ${reading.outcome}${detail}` };
  } catch (error) {
    if (error instanceof BackendError) return { problem: error.message };
    throw error;
  }
}

/** What waits, as the record that named it. */
function asRecord({ file }: Fleet, item: QueueItem): ObjectRecord {
  const { backend, key, createdAt, plainEtag } = item;
  return newRecord({
    ...bytesOf(item),
    createdAt,
    copies: { [backend]: copyIdOf(item) },
    policy: policyOf(file, key).name,
    ...(plainEtag !== undefined && { plainEtags: { [backend]: plainEtag } }),
  });
}

/** Like a put of what waits, over exactly what is there now. */
async function putOf(
  context: ClientContext,
  { params }: Fleet,
  seen: Entry | null,
  { item, content, beside }: GoodBytes,
  { timeoutMs = 300_000 }: UndeleteOptions,
): Promise<Put> {
  const { clock, ids } = context.deps;
  const startedAt = clock.now();
  const generation = ids.ulid();
  const { sha256, ...known } = { ...contentOf(item), ...content };
  return {
    context,
    key: item.key,
    generation,
    content: {
      sizeBytes: item.sizeBytes,
      ...known,
      sha256: sha256!,
      writtenAs: bornAs(item),
      open: () => bytesAt(context, item),
      dispose: async () => {},
    },
    options: beside,
    copies: 1,
    startedAt,
    deadline: startedAt + timeoutMs,
    silenceMs: params.reaperMinAgeMs,
    condition: { kind: 'unchanged', generation: seen?.generation },
  };
}

async function* bytesAt(context: ClientContext, { backend, storageKey, plainEtag }: QueueItem): Body {
  const from = await sourceNow(context, backend);
  yield* (await from.get(storageKey, defined({ ifMatch: plainEtag }))).body;
}

/** Where bytes wait, by the fleet file as it is now: a backend may have left it since they were read. */
async function sourceNow(context: ClientContext, name: string): Promise<Backend> {
  const fleet = await context.fleet();
  if (fleet.standing(name).config === undefined)
    throw new BackendError('unreachable', name, `"${name}" has left the fleet file`);
  return context.backend(fleet, name);
}

async function bringBack(undelete: Undelete): Promise<void> {
  const { put, fleet, good } = undelete;
  const unclaimed = good.filter(({ item }) => isUnclaimed(fleet, item));
  if (unclaimed.length > 0 && (await recordInPlace(undelete, unclaimed)) === 'back') return;
  const failed: NotCopied[] = [];
  for (const one of good) {
    const copied = await copyToFreshKey(undelete, one);
    if (copied.outcome === 'back') return;
    failed.push(copied);
  }
  const why = failed.map((one) => one.why).join('; ');
  if (failed.some(({ isDoubtful }) => isDoubtful))
    throw new HoldfastError('undecided', `Cannot say whether "${put.key}" comes back: its copy may arrive yet: ${why}`);
  throw new HoldfastError(
    'unreadable',
    `Cannot bring "${put.key}" back: it is being deleted, and could not be copied before: ${why}`,
  );
}

/** Whether nobody ever claimed an item. What restored tables say of it was so in the past: somebody may have since. */
function isUnclaimed({ view }: Fleet, item: QueueItem): boolean {
  return item.state === 'cleanup' && item.claimedBy === undefined && !isOfLostTime(view, item);
}

/** Records bytes where they wait. `claimed`: somebody was about to delete all of them by then, or they may not stay there. */
async function recordInPlace({ put, seen }: Undelete, unclaimed: readonly GoodBytes[]): Promise<'back' | 'claimed'> {
  const { generation } = put;
  const { writtenAs } = put.content;
  const createdAt = put.startedAt;
  const items = unclaimed.map(({ item, content }) => ({
    ...item,
    ...content,
    generation,
    createdAt,
    ...defined({ writtenAs }),
  }));
  return acknowledge(put, items, seen);
}

/** `isDoubtful` when an intent could not be taken back, so that the reaper may yet record what arrived. */
interface NotCopied {
  readonly outcome: 'not-copied';
  readonly why: string;
  readonly isDoubtful: boolean;
}

/** Copies bytes that somebody may be deleting to a fresh key, under an intent, and records the copy. */
async function copyToFreshKey(
  { put, seen }: Undelete,
  { item, beside }: GoodBytes,
): Promise<{ readonly outcome: 'back' } | NotCopied> {
  const notCopied = (why: string, isDoubtful = false): NotCopied => ({ outcome: 'not-copied', why, isDoubtful });
  try {
    const content = { ...put.content, open: () => bytesAt(put.context, item) };
    const copy: Put = { ...put, content, source: item, options: beside };
    const written = await writeCopies(copy, { replaces: seen?.generation, holders: [] }, 1);
    if (written.items.length === 0) return notCopied(`no backend takes it${written.why}`, written.isDoubtful);
    const end = await acknowledge(copy, written.items, seen);
    return end === 'back' ? { outcome: 'back' } : notCopied('its copy was given up meanwhile');
  } catch (error) {
    const isAboutBytes =
      error instanceof BackendError || error instanceof WrongBytes || error instanceof SourceGoneError;
    if (isAboutBytes) return notCopied(error.message);
    throw error;
  }
}

/** Makes the content the object, and looks once more whether it can be read. */
async function acknowledge(writing: Put, items: readonly QueueItem[], seen: Entry | null): Promise<'back' | 'claimed'> {
  // From here on a record keeps what its bytes need: they are copied on whatever becomes of their queue item.
  const { source: _named, ...put } = writing;
  const at = put.context.deps.clock.now();
  const recording = await makeRecord(put, items, seen);
  if (recording.outcome === 'overwritten') return 'back';
  const entry = recording.outcome === 'recorded' ? recording.record : await readEntry(put.context, put.key);
  if (entry?.kind === 'object' && entry.generation === put.generation) {
    await secure(put, entry, at, new Map(items.map((item) => [item.backend, copyIdOf(item)])));
    return 'back';
  }
  if (entry?.generation === seen?.generation) return 'claimed';
  throw new HoldfastError('precondition', `Cannot bring "${put.key}" back: it was put or deleted meanwhile`);
}

/** What travels beside bytes, to be written beside their copies. */
async function besideOf(
  context: ClientContext,
  { params }: Fleet,
  { backend, storageKey }: QueueItem,
): Promise<Put['options']> {
  const from = await sourceNow(context, backend);
  const found = await from.head(storageKey);
  if (found === null) throw new BackendError('not-found', backend, `"${storageKey}" is gone`);
  const { [markName]: _mark, ...metadata } = found.metadata;
  const tags = params.preservesTags ? await readTags(from, storageKey, found) : undefined;
  return { headers: found.headers, metadata, ...defined({ tags }) };
}
