import { hash } from 'node:crypto';
import { bodyOf } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import {
  type Backend,
  BackendError,
  type BackendErrorKind,
  type Capabilities,
  type DeleteOutcome,
  type DeleteRequest,
  type ListPage,
  type ObjectHeaders,
  type PutRequest,
  type StoredObject,
} from '../../fleet/backend.ts';
import { byCodeUnits, byUtf8, createSortedKeys } from './memory-keys.ts';
import { memoryMultipart } from './memory-multipart.ts';

/** An object as the in-memory implementation holds it. Its bytes are shared with readers: nobody may change them. */
export interface MemoryObject extends StoredObject {
  readonly bytes: Uint8Array;
  readonly tags: Readonly<Record<string, string>>;
  readonly lastModified: number;
  /** Length of its first part, where it was written in parts. */
  readonly firstPartBytes?: number;
}

export interface MemoryBackendOptions {
  readonly name: string;
  readonly clock: Clock;
  /** What the in-memory implementation can do [all but `keepsVersions`]; what it cannot, it treats as a bucket that cannot would. */
  readonly capabilities?: Capabilities;
  /** The backends of the same endpoint, by name, which it can copy from [itself alone]. */
  readonly neighbours?: Readonly<Record<string, MemoryBackend>>;
  /** As S3 demands of all parts but the last [5 MiB]. */
  readonly minPartBytes?: number;
}

export interface PutNow {
  readonly headers?: ObjectHeaders;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly tags?: Readonly<Record<string, string>>;
  /** In place of the MD5 of the bytes. */
  readonly etag?: string;
  readonly firstPartBytes?: number;
}

/** The backend port on a map, and the synchronous core below it. */
export interface MemoryBackend extends Backend {
  readonly capabilities: Capabilities;
  /** What is stored now, in no order. */
  contents(): ReadonlyMap<string, MemoryObject>;
  peek(storageKey: string): MemoryObject | undefined;
  /** Versions of a key that are not its current one, oldest first: only where the bucket keeps versions. */
  olderVersions(storageKey: string): readonly MemoryObject[];
  putNow(storageKey: string, bytes: Uint8Array, options?: PutNow): MemoryObject;
  /** What somebody else's plain DELETE does: where the bucket keeps versions, it leaves the bytes and a delete marker. */
  deleteNow(storageKey: string): void;
  listNow(options?: Parameters<Backend['list']>[0]): ListPage;
}

/** What a bucket in memory can do, unless a test says otherwise. */
export const everything: Capabilities = {
  conditionalPut: true,
  conditionalCompletion: true,
  conditionalCopies: true,
  conditionalDelete: true,
  checksumSha256: true,
  bulkDelete: true,
  keepsVersions: false,
  partCopy: true,
  attestsCopies: true,
  listsInByteOrder: true,
  keepsMetadata: true,
};

/** A bucket in memory: for tests and simulated fleets. No faults of its own; wrap it for those. */
export function createMemoryBackend(options: MemoryBackendOptions): MemoryBackend {
  const { name, clock, neighbours = {}, minPartBytes = 5 * 2 ** 20 } = options;
  const capabilities = { ...everything, ...options.capabilities };
  const objects = new Map<string, MemoryObject>();
  const older = new Map<string, MemoryObject[]>();
  const markers = new Set<string>();
  const keys = createSortedKeys(capabilities.listsInByteOrder ? byUtf8 : byCodeUnits);

  const fail = (kind: BackendErrorKind, action: string, storageKey: string, whatIsSo: string, cause?: unknown) =>
    new BackendError(kind, name, `Cannot ${action} ${JSON.stringify(storageKey)} on "${name}": ${whatIsSo}`, cause);
  const refuseCancelled = (action: string, storageKey: string, signal?: AbortSignal) => {
    if (signal?.aborted) throw fail('cancelled', action, storageKey, 'it was cancelled', signal.reason);
  };

  const keepVersion = (storageKey: string) => {
    const current = objects.get(storageKey);
    if (current && capabilities.keepsVersions) older.set(storageKey, [...(older.get(storageKey) ?? []), current]);
  };
  const putNow = (
    storageKey: string,
    bytes: Uint8Array,
    { headers = {}, metadata = {}, tags = {}, etag, firstPartBytes }: PutNow = {},
  ) => {
    keepVersion(storageKey);
    const object: MemoryObject = {
      bytes,
      sizeBytes: bytes.length,
      etag: etag ?? `"${hash('md5', bytes)}"`,
      headers,
      metadata: capabilities.keepsMetadata ? metadata : {},
      tags,
      lastModified: clock.now(),
      ...defined({ firstPartBytes }),
    };
    markers.delete(storageKey);
    if (!objects.has(storageKey)) keys.add(storageKey);
    objects.set(storageKey, object);
    return object;
  };
  const deleteNow = (storageKey: string) => {
    keepVersion(storageKey);
    if (capabilities.keepsVersions) markers.add(storageKey);
    if (objects.delete(storageKey)) keys.remove(storageKey);
  };
  const eraseNow = (storageKey: string) => {
    if (objects.delete(storageKey)) keys.remove(storageKey);
    older.delete(storageKey);
    markers.delete(storageKey);
  };

  const find = (action: string, storageKey: string, signal?: AbortSignal): MemoryObject | undefined => {
    refuseCancelled(action, storageKey, signal);
    const object = objects.get(storageKey);
    if (!object && markers.has(storageKey)) throw fail('delete-marker', action, storageKey, 'it has a delete marker');
    return object;
  };

  const readBody = async (
    action: string,
    request: Pick<PutRequest, 'storageKey' | 'sizeBytes' | 'body' | 'sha256'>,
  ): Promise<Uint8Array> => {
    const { storageKey, sizeBytes, sha256 } = request;
    const chunks: Uint8Array[] = [];
    let received = 0;
    try {
      for await (const chunk of request.body) {
        received += chunk.length;
        if (received > sizeBytes) throw new Error(`it gave more than the ${sizeBytes} bytes announced`);
        chunks.push(chunk);
      }
      if (received < sizeBytes) throw new Error(`it ended after ${received} of ${sizeBytes} bytes`);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw fail('body', action, storageKey, `the source of its bytes failed: ${reason}`, error);
    }
    const bytes = Buffer.concat(chunks);
    if (sha256 !== undefined && hash('sha256', bytes) !== sha256) {
      throw fail('bad-digest', action, storageKey, `its bytes are not those of SHA-256 ${sha256}`);
    }
    return bytes;
  };

  const deleteOne = ({ storageKey, ifMatch }: DeleteRequest): DeleteOutcome => {
    if (ifMatch === undefined) {
      eraseNow(storageKey);
      return { outcome: 'deleted' };
    }
    if (!capabilities.conditionalDelete) {
      const error = fail('unsupported', 'delete', storageKey, 'it is not known to delete on a condition');
      return { outcome: 'failed', error };
    }
    const current = objects.get(storageKey);
    if (current && current.etag !== ifMatch) return { outcome: 'changed' };
    if (current) deleteNow(storageKey);
    return { outcome: 'deleted' };
  };

  const listNow: MemoryBackend['listNow'] = ({ prefix = '', from, limit = 1000 } = {}) => {
    const after = from === undefined ? undefined : 'token' in from ? from.token : from.afterKey;
    const page = keys.page(prefix, after, Math.min(Math.max(limit, 1), 1000));
    const items = page.keys.map((storageKey) => {
      const { sizeBytes, etag, lastModified } = objects.get(storageKey)!;
      return { storageKey, sizeBytes, etag, lastModified };
    });
    if (!page.hasMore) return { items };
    const last = items.at(-1)!.storageKey;
    return { items, next: capabilities.listsInByteOrder ? { afterKey: last } : { token: last } };
  };

  return {
    name,
    checksSha256: capabilities.checksumSha256 === true,
    altersHeaders: capabilities.keepsMetadata === false,
    capabilities,
    contents: () => objects,
    peek: (storageKey) => objects.get(storageKey),
    olderVersions: (storageKey) => older.get(storageKey) ?? [],
    putNow,
    deleteNow,
    listNow,

    async put(request, signal) {
      const { storageKey, headers, metadata, tags, ifAbsent, ifMatch } = request;
      refuseCancelled('write', storageKey, signal);
      const bytes = await readBody('write', request);
      refuseCancelled('write', storageKey, signal);
      if (capabilities.conditionalPut) {
        const current = objects.get(storageKey);
        if (ifAbsent && current) throw fail('precondition', 'write', storageKey, 'it is there already');
        if (ifMatch !== undefined && !current) throw fail('not-found', 'write', storageKey, 'it is not there');
        if (ifMatch !== undefined && current?.etag !== ifMatch) {
          throw fail('precondition', 'write', storageKey, `its ETag is ${current?.etag}, not ${ifMatch}`);
        }
      }
      const { etag } = putNow(storageKey, bytes, {
        ...defined({ headers, metadata, tags }),
      });
      const isChecked = capabilities.checksumSha256 && request.sha256 !== undefined;
      return { etag, ...defined({ sha256: isChecked ? request.sha256 : undefined }) };
    },

    async get(storageKey, { range, ifMatch } = {}, signal) {
      const object = find('read', storageKey, signal);
      if (!object) throw fail('not-found', 'read', storageKey, 'it is not there');
      const { bytes, tags: _tags, firstPartBytes: _part, ...description } = object;
      if (ifMatch !== undefined && object.etag !== ifMatch) {
        throw fail('precondition', 'read', storageKey, `its ETag is ${object.etag}, not ${ifMatch}`);
      }
      if (range === undefined) return { ...description, body: bodyOf(bytes) };
      const [first, last] = range;
      if (first >= bytes.length || last < first) {
        throw fail('rejected', 'read', storageKey, `it has no bytes ${first}-${last}`);
      }
      return { ...description, body: bodyOf(bytes.subarray(first, last + 1)) };
    },

    async head(storageKey, signal) {
      const object = find('look up', storageKey, signal);
      if (!object) return null;
      const { bytes: _, tags: _tags, firstPartBytes: _part, ...description } = object;
      return description;
    },

    async firstPartBytes(storageKey, signal) {
      return find('look up the first part of', storageKey, signal)?.firstPartBytes ?? null;
    },

    async tags(storageKey, signal) {
      const object = find('read the tags of', storageKey, signal);
      if (!object) throw fail('not-found', 'read the tags of', storageKey, 'there is no such key');
      return object.tags;
    },

    async copyFrom({ source, storageKey, headers, metadata, tags, ifAbsent }, signal) {
      refuseCancelled('copy to', storageKey, signal);
      const existing = source.backend === name ? objects : neighbours[source.backend]?.contents();
      if (!existing) throw fail('denied', 'copy to', storageKey, `"${source.backend}" is not at its endpoint`);
      const object = existing.get(source.storageKey);
      const isOther = source.ifMatch !== undefined && object !== undefined && object.etag !== source.ifMatch;
      if (!object || isOther) {
        const whatIsSo = isOther ? 'its ETag is another' : 'it is not there';
        const message = `Cannot copy ${JSON.stringify(source.storageKey)} on "${source.backend}": ${whatIsSo}`;
        throw new BackendError(isOther ? 'precondition' : 'not-found', source.backend, message);
      }
      if (capabilities.conditionalCopies && ifAbsent && objects.has(storageKey))
        throw fail('precondition', 'copy to', storageKey, 'it is there already');
      putNow(storageKey, object.bytes, {
        ...defined({ headers, metadata, tags }),
      });
      return capabilities.attestsCopies ? { sha256: hash('sha256', object.bytes) } : {};
    },

    async delete(requests, signal) {
      refuseCancelled('delete', requests[0]?.storageKey ?? '', signal);
      return requests.map(deleteOne);
    },

    async list(listOptions, signal) {
      refuseCancelled('list', listOptions.prefix ?? '', signal);
      return listNow(listOptions);
    },

    ...memoryMultipart({
      ...{ minPartBytes, fail, refuseCancelled, readBody, putNow },
      etagAt: (storageKey) => objects.get(storageKey)?.etag,
      heedsConditions: capabilities.conditionalCompletion === true,
    }),
  };
}
