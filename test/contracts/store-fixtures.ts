import { expect } from 'vitest';
import { queueId, storageKey } from '../../lib/store/keys.ts';
import type { Entry, ObjectRecord, QueueItem, Tombstone } from '../../lib/store/model.ts';
import type { Change, ObjectChange, QueueChange, Store } from '../../lib/store/port.ts';

/** What a contract test runs on: every store it hands out is empty and its own. */
export interface StoreLab {
  fresh(): Promise<Store>;
  close(): Promise<void>;
}

let tokens = 0;

export function newToken(): string {
  tokens += 1;
  return `contract-${tokens}`;
}

export const generation = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
export const laterGeneration = '01BX5ZZKBKACTAV9WEVGEMMVRZ';

export function record(key: string, fields: Partial<ObjectRecord> = {}): ObjectRecord {
  return {
    kind: 'object',
    key,
    generation,
    rev: 1,
    sizeBytes: 1234,
    createdAt: 1_700_000_000_000,
    copies: { b2: '01ARZ3NDEKTSV4RRFFQ69G5FAA', oci: '01ARZ3NDEKTSV4RRFFQ69G5FAB' },
    policy: 'default',
    condition: 'sound',
    ...fields,
  };
}

/** A record in which every field has a value. */
export function wholeRecord(key: string, fields: Partial<ObjectRecord> = {}): Required<ObjectRecord> {
  const refusal = { leg: 'target', cause: 'too-large', message: 'Too large', asOf: '12' } as const;
  return {
    ...record(key),
    sha256: 'f'.repeat(64),
    headersSha256: 'e'.repeat(64),
    copies: { b2: '', oci: 'X', 'a-1': 'Y' },
    condition: 'stuck',
    stuck: { 'a-1': { ...refusal, attempts: 2, refusedAt: 1, nextTryAt: 2 } },
    plainEtags: { b2: '"etag"' },
    encryption: { plaintextSha256: '0'.repeat(64), plaintextBytes: 1000, keyId: 'k' },
    writtenAs: laterGeneration,
    ...fields,
  };
}

/** A queue item in which every field has a value. */
export function wholeItem(key: string, fields: Partial<QueueItem> = {}): Required<QueueItem> {
  const { sha256, headersSha256, encryption, writtenAs } = wholeRecord(key);
  return {
    ...item(key),
    sha256,
    headersSha256,
    encryption,
    writtenAs,
    cause: 'quarantined',
    lastError: 'e',
    claimedBy: 'c',
    claimedAt: 3,
    plainEtag: '"x"',
    drainSince: 5,
    copiedBy: 'b2/a!01ARZ3NDEKTSV4RRFFQ69G5FAC',
    intent: { replaces: generation },
    transfer: {
      from: 'oci',
      uploadId: 'u',
      partSizeBytes: 5,
      partsDone: 2,
      hashState: 'h',
      sha256,
      isUnproven: true,
      needsProof: true,
      leaves: 'oci',
      failedLeg: 'target',
      sourceKey: 's',
    },
    ...fields,
  };
}

export function tombstone(key: string, fields: Partial<Tombstone> = {}): Tombstone {
  return {
    kind: 'tombstone',
    key,
    generation: laterGeneration,
    rev: 1,
    deletedAt: 1_700_000_001_000,
    ttl: 1,
    ...fields,
  };
}

export function item(key: string, fields: Partial<QueueItem> = {}): QueueItem {
  const storage = storageKey(key, '01ARZ3NDEKTSV4RRFFQ69G5FAA');
  return {
    id: queueId('b2', storage),
    state: 'cleanup',
    backend: 'b2',
    storageKey: storage,
    key,
    generation,
    sizeBytes: 1234,
    createdAt: 1_700_000_000_000,
    dueAt: 1_700_000_060_000,
    cause: 'replaced',
    reason: 'replaced',
    attempts: 0,
    ...fields,
  };
}

export function putObject(put: Entry, expected: ObjectChange['expect'] = 'absent'): ObjectChange {
  return { kind: 'object', put, expect: expected };
}

export function putItem(put: QueueItem, expected: QueueChange['expect'] = 'absent'): QueueChange {
  return { kind: 'queue', put, expect: expected };
}

/** Makes changes that must succeed. */
export async function given(store: Store, ...changes: Change[]): Promise<void> {
  for (let at = 0; at < changes.length; at += 100) {
    const answer = await store.transact(changes.slice(at, at + 100), newToken());
    expect(answer).toMatchObject({ outcome: 'done' });
  }
}

export async function objectAt(store: Store, key: string): Promise<Entry | undefined> {
  return (await store.objects([key])).get(key);
}

export async function itemAt(store: Store, id: string): Promise<QueueItem | undefined> {
  return (await store.queueItems([id])).get(id);
}

/** A store's answer to one change. */
export async function attempt(store: Store, ...changes: Change[]) {
  return store.transact(changes, newToken());
}
