import { type Body, bodyOf } from '../base/bytes.ts';
import { policyOf } from '../config/fleet-file.ts';
import type { ObjectHeaders } from '../fleet/backend.ts';
import { copyIdOf } from '../store/keys.ts';
import type { Entry, QueueItem } from '../store/model.ts';
import { KeyringError } from '../transfer/keyring.ts';
import { markName } from '../transfer/mark.ts';
import { type ClientContext, checkKey } from './context.ts';
import { HoldfastError } from './error.ts';
import { KeyRetiredError, type Put, writeBytes } from './put-bytes.ts';
import { makeRecord, ownRecord } from './put-record.ts';
import { secure } from './put-secured.ts';
import { readEntry } from './read-entry.ts';
import { seal, unsealed } from './seal.ts';

/** Content to put: bytes, or something that can be read more than once. */
export type PutBody = Uint8Array | { readonly sizeBytes: number; readonly open: () => Body };

export interface PutOptions {
  readonly headers?: ObjectHeaders;
  /** User metadata; names in lower case, without `x-amz-meta-`. `holdfast` is reserved. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How many backends must hold it, verified and recorded, before the put resolves [1]. */
  readonly copies?: number;
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
 * Stores content under a key, on as many backends as were asked for; the replicator makes the other copies. Intent, bytes,
 * record: a crash at any point leaves the old content or the new. Concurrent puts of a key: the last to commit stays.
 * It resolves only when what it put can be read from backends in force, or was overwritten.
 *
 * @throws HoldfastError `bad-key`, `bad-metadata`, `no-backend`, `undecided`; StoreError when the metadata store refuses
 */
export async function put(
  context: ClientContext,
  key: string,
  body: PutBody,
  options: PutOptions = {},
): Promise<PutResult> {
  const { file } = await context.fleet();
  checkKey(file, key);
  const copies = copiesAsked(options, file.backends.length);
  const { clock } = context.deps;
  const startedAt = clock.now();
  const asked: Asked = {
    key,
    open: body instanceof Uint8Array ? () => bodyOf(body) : body.open,
    sizeBytes: body instanceof Uint8Array ? body.length : body.sizeBytes,
    options: describedBy(key, options),
    copies,
    startedAt,
    deadline: startedAt + (options.timeoutMs ?? 300_000),
  };
  for (;;) {
    try {
      return await putOnce(context, asked);
    } catch (error) {
      // Sealed anew it is another write: one generation is one ciphertext.
      if (!(error instanceof KeyRetiredError) || clock.now() >= asked.deadline) throw error;
    }
  }
}

/** What a caller asked for, and since when. */
interface Asked extends Pick<Put, 'key' | 'options' | 'copies' | 'startedAt' | 'deadline'> {
  readonly open: () => Body;
  readonly sizeBytes: number;
}

async function putOnce(context: ClientContext, { open, sizeBytes, ...asked }: Asked): Promise<PutResult> {
  const { key } = asked;
  const fleet = await context.fleet();
  const generation = context.deps.ids.ulid();
  const content = policyOf(fleet.file, key).encrypt
    ? await seal(await context.keyring(fleet), { key, generation }, open, sizeBytes).catch(noKey)
    : await unsealed(open, sizeBytes);
  const work: Put = { ...asked, context, generation, content, silenceMs: fleet.params.reaperMinAgeMs };
  try {
    await putUntilDone(work, await readEntry(context, key));
  } finally {
    // Not waited for: between the last look at the fleet and the answer to the caller lies nothing.
    content
      .dispose()
      .catch((error: Error) => context.deps.log.warn('A temporary file is left', { message: error.message }));
  }
  const sha256 = content.encryption?.plaintextSha256 ?? content.sha256;
  return { key, generation, sizeBytes, sha256 };
}

/** A name of user metadata as a header can carry it. */
const metadataName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/**
 * What is to be stored beside the content. A content type is always sent: some backends make up one of their own, each
 * another, where there is none.
 */
function describedBy(key: string, { headers, metadata = {} }: PutOptions): Pick<PutOptions, 'headers' | 'metadata'> {
  for (const name of Object.keys(metadata)) {
    if (name === markName)
      throw new HoldfastError('bad-metadata', `Cannot put "${key}": the name "${name}" is reserved`);
    if (!metadataName.test(name))
      throw new HoldfastError('bad-metadata', `Cannot put "${key}": "${name}" is not a lower-case name of metadata`);
  }
  return { headers: { contentType: 'application/octet-stream', ...headers }, metadata };
}

function copiesAsked({ copies = 1 }: PutOptions, backends: number): number {
  if (Number.isInteger(copies) && copies >= 1 && copies <= backends) return copies;
  throw new HoldfastError('no-backend', `Cannot put ${copies} copies: the fleet file has ${backends} backends`);
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
    const item = await writeFirst(put, seen, isDoubtful);
    const at = clock.now();
    const made = await makeRecord(put, item, seen);
    const verified = new Map([[item.backend, copyIdOf(item)]]);
    if (made.outcome === 'recorded') return secure(put, made.record, at, verified);
    const now = await readEntry(context, key);
    const own = ownRecord(put, now);
    if (own !== null) return secure(put, own, at, verified);
    if (made.outcome === 'not-taking') isDoubtful ||= made.isDoubtful;
    // The reaper took the intent. Anything but what this put replaces: it happened (the reaper promoted it), or would have been
    // overwritten by now.
    else if (now?.generation !== seen?.generation) return;
    if (clock.now() - put.startedAt > freshStartMs)
      throw new HoldfastError('undecided', `Cannot say whether "${key}" was put: it took more than six days`);
    seen = now;
  }
}

async function writeFirst(put: Put, seen: Entry | null, wasDoubtful: boolean): Promise<QueueItem> {
  const written = await writeBytes(put, { replaces: seen?.generation, holders: [] });
  if (written.outcome === 'written') return written.item;
  const { why, isDoubtful } = written;
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
