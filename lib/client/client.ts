import type { ObjectRecord } from '../store/model.ts';
import { createUsageBook } from '../store/usage-book.ts';
import { type ClientDeps, checkKey, createContext } from './context.ts';
import { HoldfastError } from './error.ts';
import { type GetObject, type GetOptions, get, read } from './get.ts';
import { list } from './list.ts';
import { contentOf } from './open-object.ts';
import { type PutBody, type PutOptions, type PutResult, put } from './put.ts';
import { readEntry } from './read-entry.ts';
import { remove } from './remove.ts';
import type { UndeleteOptions, UndeleteResult } from './undelete.ts';
import type { WaitingContent } from './waiting-bytes.ts';
import { writeFile } from './write-file.ts';

/** A content that was deleted or overwritten and can be brought back. */
export type Undeletable = Omit<WaitingContent, 'items'>;

/** What the library knows of an object without reading it. */
export interface ObjectSummary {
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  readonly createdAt: number;
  readonly sha256?: string;
}

/** Holdfast for applications: every call is safe to make from any number of processes at once. */
export interface Holdfast {
  /** Stores content; resolves once it is on one backend, verified and recorded. */
  put(key: string, body: PutBody | string, options?: PutOptions): Promise<PutResult>;
  /** Reads content, verified, or a part of it; null when there is no such object. */
  get(key: string, options?: GetOptions): Promise<GetObject | null>;
  /**
   * Reads content for a consumer that can begin again: when what it was given proves wrong at its end, it is called again
   * with another copy. Resolves to what it returned, null when there is no such object.
   */
  read<T>(key: string, consume: (object: GetObject) => Promise<T>): Promise<T | null>;
  /** Reads content into a file that appears only whole and verified; null when there is no such object. */
  getFile(key: string, path: string): Promise<Omit<GetObject, 'body'> | null>;
  /** What is recorded; null when there is no such object. */
  head(key: string): Promise<ObjectSummary | null>;
  /** Deletes; resolves to whether there was an object. */
  delete(key: string): Promise<boolean>;
  /**
   * Brings back what was deleted or overwritten, while its bytes wait for their deletion (`deleteGraceHours` of its policy), once
   * they were read and found good.
   */
  undelete(key: string, options?: UndeleteOptions): Promise<UndeleteResult>;
  /** What of a key could be brought back, those that were deleted or overwritten last first. */
  undeletable(key: string): Promise<readonly Undeletable[]>;
  /** Objects whose key begins with a prefix, in UTF-8 byte order. */
  list(prefix?: string): AsyncIterable<ObjectSummary>;
  /** Writes down what was spent on backends and ends background work. */
  close(): Promise<void>;
}

/** How often a running client writes down what it spent. */
const flushMs = 60_000;

/** A client over any ports; `createHoldfast` makes one over DynamoDB and S3. */
export function createClient(deps: ClientDeps): Holdfast {
  const context = createContext(deps);
  const stop = new AbortController();
  let flushedAt = deps.clock.now();
  const book = createUsageBook();
  const flush = async () => {
    flushedAt = deps.clock.now();
    const { spending, meter } = context;
    book.enter(meter.take());
    const taken = spending.take();
    await book.flush(deps).catch((error: unknown) => {
      spending.putBack(taken);
      throw error;
    });
    spending.written(taken);
    await (stop.signal.aborted ? spending.release() : spending.renew());
  };
  const flushOrWarn = () =>
    flush().catch((error: Error) => deps.log.warn('Usage could not be written', { message: error.message }));
  const assertOpen = () => {
    if (stop.signal.aborted) throw new HoldfastError('closed', 'The client was closed: make another one');
  };
  /** Before the call, not after it: a caller is answered by what is so now, not by what was so before a wait. */
  const counted = async <T>(call: () => Promise<T>): Promise<T> => {
    assertOpen();
    if (deps.clock.now() - flushedAt >= flushMs && !stop.signal.aborted) {
      await flushOrWarn();
    }
    return call().finally(writeDownSoon);
  };
  let isWaiting = false;
  /** Others count what this process holds for a few minutes only: an idle one writes down what it spent before that. */
  const writeDownSoon = () => {
    if (isWaiting || stop.signal.aborted || !context.spending.isHolding()) return;
    isWaiting = true;
    const until = deps.clock.sleep(flushMs, stop.signal).then(flushOrWarn, () => {});
    until.finally(() => {
      isWaiting = false;
      writeDownSoon();
    });
  };
  return {
    put: (key, body, options) =>
      counted(() => put(context, key, typeof body === 'string' ? Buffer.from(body) : body, options)),
    get: (key, options) => counted(() => get(context, key, options)),
    read: (key, consume) => counted(() => read(context, key, consume)),
    getFile: (key, path) =>
      counted(() =>
        read(context, key, async ({ body, ...object }) => {
          await writeFile(path, body);
          return object;
        }),
      ),
    async head(key) {
      assertOpen();
      const fleet = await context.fleet();
      checkKey(fleet.file, key);
      const entry = await readEntry(context, key);
      return entry?.kind === 'object' ? summary(entry) : null;
    },
    delete: (key) => counted(() => remove(context, key)),
    // Seldom needed: who starts with a put or a get does not load it.
    undelete: (key, options) => counted(async () => (await import('./undelete.ts')).undelete(context, key, options)),
    async undeletable(key) {
      assertOpen();
      const { waitingOf } = await import('./undelete.ts');
      return (await waitingOf(context, key)).map(({ items: _, ...content }) => content);
    },
    async *list(prefix) {
      assertOpen();
      if (prefix !== undefined && typeof prefix !== 'string')
        throw new HoldfastError(
          'bad-key',
          `A prefix must be a string; this one is ${prefix === null ? 'null' : typeof prefix}`,
        );
      await context.fleet();
      for await (const object of list(context, prefix)) yield summary(object);
    },
    async close() {
      stop.abort();
      // Called again it writes down what calls that were under way have spent since.
      await flush();
    },
  };
}

function summary(object: ObjectRecord): ObjectSummary {
  const { key, generation, createdAt } = object;
  return { key, generation, createdAt, ...contentOf(object) };
}
