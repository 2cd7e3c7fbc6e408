import { isReadable, type Readable } from 'node:stream';
import { type Body, bodyOf } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type FleetFile, policyOf } from '../config/fleet-file.ts';
import { placementRule } from '../config/placement-rule.ts';
import type { ObjectHeaders } from '../fleet/backend.ts';
import { copyIdOf } from '../store/keys.ts';
import type { Entry, QueueItem } from '../store/model.ts';
import { KeyringError } from '../transfer/keyring.ts';
import { markName } from '../transfer/mark.ts';
import { WrongBytes } from '../transfer/verify.ts';
import { type ClientContext, checkKey } from './context.ts';
import { HoldfastError } from './error.ts';
import { type Condition, KeyRetiredError, type Put } from './put-bytes.ts';
import { writeCopies } from './put-copies.ts';
import { isAllowed, makeRecord, ownRecord, refusedBy } from './put-record.ts';
import { secure } from './put-secured.ts';
import { readEntry } from './read-entry.ts';
import { seal, unsealed } from './seal.ts';
import { type Spooled, spool } from './spool.ts';

/**
 * Content to put: bytes, something that can be read more than once, or a stream of any length that is read once, to its end, and kept
 * for the put: in memory, or in a temporary file where it is large.
 */
export type PutBody =
  | Uint8Array
  | { readonly sizeBytes: number; readonly open: () => Body }
  | AsyncIterable<Uint8Array | string>;

export interface PutOptions {
  readonly headers?: ObjectHeaders;
  /** User metadata; names in lower case, without `x-amz-meta-`. `holdfast` is reserved. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How many backends must hold it, verified and recorded, before the put resolves [the policy's `putCopies`, else 1]. */
  readonly copies?: number;
  /** Only where there is no such object; throws `precondition` otherwise. Of several that are put at once, one succeeds. */
  readonly ifAbsent?: boolean;
  /** Only over this very generation; throws `precondition` otherwise. */
  readonly ifGeneration?: string;
  /** How long to try, in milliseconds [300 000]. */
  readonly timeoutMs?: number;
}

/** The generation that this put made. By the time it is returned the object may already have been overwritten. */
export interface PutResult {
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** A put that began so long ago does not begin again over nothing: what it replaced may be forgotten by now. */
const freshStartMs = 6 * 24 * 3_600_000;

/**
 * Stores content under a key, on as many backends as were asked for, side by side; the replicator makes the other copies.
 * Intents, bytes, record: a crash at any point leaves the old content or the new. Concurrent puts of a key: the last to
 * commit stays.
 * It resolves only when what it put can be read from backends in force, or was overwritten.
 *
 * @throws HoldfastError `bad-key`, `bad-metadata`, `bad-option`, `bad-body`, `silent-body`, `no-backend`, `too-few-copies`, `precondition`, `undecided`; StoreError when the metadata store refuses
 */
export async function put(
  context: ClientContext,
  key: string,
  body: PutBody,
  options: PutOptions = {},
): Promise<PutResult> {
  const { file } = await context.fleet();
  checkKey(file, key);
  const copies = copiesAsked(options, file, key);
  const described = describedBy(key, options);
  const condition = conditionOf(key, options);
  const content = await contentOf(key, body);
  const { clock } = context.deps;
  const startedAt = clock.now();
  const deadline = startedAt + timeoutOf(key, options);
  const { open, sizeBytes } = content;
  const asked: Asked = {
    key,
    open,
    sizeBytes,
    options: described,
    copies,
    startedAt,
    deadline,
    ...defined({ condition }),
  };
  try {
    for (;;) {
      try {
        return await putOnce(context, asked);
      } catch (error) {
        // Sealed anew it is another write: one generation is one ciphertext.
        if (!(error instanceof KeyRetiredError) || clock.now() >= asked.deadline) throw error;
      }
    }
  } finally {
    disposeOf(context, content);
  }
}

/** The content as something that can be read more than once. Throws `bad-body` for what is none. */
async function contentOf(key: string, body: PutBody): Promise<Spooled> {
  const dispose = async () => {};
  if (body instanceof Uint8Array) return { sizeBytes: body.length, open: () => bodyOf(body), dispose };
  const bad = (what: string) =>
    new HoldfastError(
      'bad-body',
      `Cannot put "${key}": its content is ${what}; it must be a string, bytes, a stream, or {sizeBytes, open}`,
    );
  if (body === undefined || body === null) throw bad(String(body));
  if (typeof body !== 'object') throw bad(`a ${typeof body}`);
  if ('open' in body && typeof body.open === 'function') {
    const { sizeBytes, open } = body;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw bad(`of ${sizeBytes} bytes`);
    const opened = () => {
      const content: unknown = open.call(body);
      if (typeof content === 'object' && content !== null && Symbol.asyncIterator in content) return content as Body;
      throw bad('what `open` gave, which is no stream');
    };
    return { sizeBytes, open: opened, dispose };
  }
  // What has ended gives nothing more: it would pass for empty content, and replace what is there.
  if (isReadable(body as Readable) === false) throw bad('a stream that was read, or ended, before');
  if (Symbol.asyncIterator in body) return spool(body, (what) => bad(`a stream of ${what}`));
  throw bad('an object that cannot be read');
}

/** Not waited for: between the last look at the fleet and the answer to the caller lies nothing. */
function disposeOf(context: ClientContext, content: { dispose(): Promise<void> }): void {
  content
    .dispose()
    .catch((error: Error) => context.deps.log.warn('A temporary file is left', { message: error.message }));
}

function conditionOf(key: string, { ifAbsent, ifGeneration }: PutOptions): Condition | undefined {
  if (ifAbsent === true && ifGeneration !== undefined)
    throw new HoldfastError('precondition', `Cannot put "${key}": it cannot be absent and have a generation`);
  if (ifGeneration !== undefined) return { kind: 'generation', generation: ifGeneration };
  return ifAbsent === true ? { kind: 'absent' } : undefined;
}

/** What a caller asked for, and since when. */
interface Asked extends Pick<Put, 'key' | 'options' | 'copies' | 'startedAt' | 'deadline' | 'condition'> {
  readonly open: () => Body;
  readonly sizeBytes: number;
}

async function putOnce(context: ClientContext, { open, sizeBytes, ...asked }: Asked): Promise<PutResult> {
  const { key, condition } = asked;
  const fleet = await context.fleet();
  // Before anything is sealed or sent; the commit asks once more.
  const before = condition === undefined ? undefined : await readEntry(context, key);
  if (before !== undefined && !isAllowed(condition, before)) throw refusedBy(asked, before);
  const generation = context.deps.ids.ulid();
  const content = policyOf(fleet.file, key).encrypt
    ? await seal(await context.keyring(fleet), { key, generation }, open, sizeBytes).catch(noKey)
    : await unsealed(open, sizeBytes);
  const work: Put = { ...asked, context, generation, content, silenceMs: fleet.params.reaperMinAgeMs };
  try {
    await putUntilDone(work, before === undefined ? await readEntry(context, key) : before);
  } catch (error) {
    if (!(error instanceof WrongBytes)) throw error;
    throw new HoldfastError('bad-body', `Cannot put "${key}": it was read again, and differs: ${error.message}`, error);
  } finally {
    disposeOf(context, content);
  }
  const sha256 = content.encryption?.plaintextSha256 ?? content.sha256;
  return { key, generation, sizeBytes, sha256 };
}

/** In milliseconds; the longest is what a timer takes. */
function timeoutOf(key: string, { timeoutMs = 300_000 }: PutOptions): number {
  if (timeoutMs > 0 && timeoutMs < 2 ** 31) return timeoutMs;
  throw new HoldfastError('bad-option', `Cannot put "${key}" within ${timeoutMs} ms: timeoutMs is 1 to ${2 ** 31 - 1}`);
}

const headerNames: ReadonlySet<string> = new Set<keyof ObjectHeaders>([
  'contentType',
  'cacheControl',
  'contentDisposition',
  'contentEncoding',
  'contentLanguage',
]);

/** A name of user metadata as a header can carry it. */
const metadataName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/**
 * What is to be stored beside the content. A content type is always sent: some backends make up one of their own, each
 * another, where there is none.
 */
function describedBy(key: string, { headers, metadata = {} }: PutOptions): Pick<PutOptions, 'headers' | 'metadata'> {
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (!headerNames.has(name))
      throw new HoldfastError(
        'bad-metadata',
        `Cannot put "${key}": "${name}" is none of the headers that are kept: ${[...headerNames].join(', ')}`,
      );
    if (value !== undefined && typeof value !== 'string')
      throw new HoldfastError('bad-metadata', `Cannot put "${key}": the header "${name}" is no text`);
  }
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== 'string')
      throw new HoldfastError('bad-metadata', `Cannot put "${key}": the metadata "${name}" is no text`);
    if (name === markName)
      throw new HoldfastError('bad-metadata', `Cannot put "${key}": the name "${name}" is reserved`);
    if (!metadataName.test(name))
      throw new HoldfastError('bad-metadata', `Cannot put "${key}": "${name}" is not a lower-case name of metadata`);
  }
  return { headers: { contentType: 'application/octet-stream', ...headers }, metadata };
}

/** As many as the call asks for, else as its policy does, else one. */
function copiesAsked({ copies }: PutOptions, file: FleetFile, key: string): number {
  const { name: policy, putCopies = 1 } = policyOf(file, key);
  const asked = copies ?? putCopies;
  const { allows } = placementRule(file, policy);
  const allowed = file.backends.filter(({ name }) => allows(name)).length;
  if (Number.isInteger(asked) && asked >= 1 && asked <= allowed) return asked;
  throw new HoldfastError(
    'no-backend',
    `Cannot put "${key}" on ${asked} backends: its policy "${policy}" allows 1 to ${allowed}`,
  );
}

function noKey(error: unknown): never {
  if (error instanceof KeyringError) throw new HoldfastError('no-key', error.message, error);
  throw error;
}

async function putUntilDone(put: Put, first: Entry | null): Promise<void> {
  const { context, key } = put;
  const { clock } = context.deps;
  let seen = first;
  let isDoubtful = false;
  for (;;) {
    const items = await writeFirst(put, seen, isDoubtful);
    const at = clock.now();
    const recording = await makeRecord(put, items, seen);
    if (recording.outcome === 'overwritten') return;
    const verified = new Map(items.map((item) => [item.backend, copyIdOf(item)]));
    if (recording.outcome === 'recorded') return secure(put, recording.record, at, verified);
    const now = await readEntry(context, key);
    const own = ownRecord(put, now);
    if (own !== null) return secure(put, own, at, verified);
    if (recording.outcome === 'not-taking') isDoubtful ||= recording.isDoubtful;
    // The reaper took the intent. Anything but what this put replaces: it happened (the reaper promoted it), or would have been
    // overwritten by now.
    else if (now?.generation !== seen?.generation) {
      if (put.condition === undefined) return;
      // It may have been overwritten, or never have happened: only the one of them met the condition.
      throw new HoldfastError(
        'undecided',
        `Cannot say whether "${key}" was put on this condition: it was written meanwhile`,
      );
    }
    if (clock.now() - put.startedAt > freshStartMs)
      throw new HoldfastError('undecided', `Cannot say whether "${key}" was put: it took more than six days`);
    seen = now;
  }
}

/** Copies on as many backends as were asked for, or on those that take it: one at least. */
async function writeFirst(put: Put, seen: Entry | null, wasDoubtful: boolean): Promise<readonly QueueItem[]> {
  const { items, why, isDoubtful } = await writeCopies(put, { replaces: seen?.generation, holders: [] }, put.copies);
  if (items.length > 0) return items;
  const { key, content } = put;
  if (isDoubtful || wasDoubtful)
    throw new HoldfastError(
      'undecided',
      `Cannot say whether "${key}" was put: what failed could not be taken back${why}`,
    );
  throw new HoldfastError(
    'no-backend',
    `Cannot put "${key}" (${content.sizeBytes} bytes): no backend can take it${why}`,
  );
}
