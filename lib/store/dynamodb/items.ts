import * as v from 'valibot';
import type { Usage } from '../../base/usage.ts';
import { isInKeyIndex, laneOf, parsePlacement, placementLabel, shardOf } from '../keys.ts';
import {
  type ControlRow,
  type Count,
  type Entry,
  type Lease,
  type QueueItem,
  queueCauses,
  queueStates,
  type StuckReason,
} from '../model.ts';
import { StoreError } from '../port.ts';
import type { Item } from './attributes.ts';

/**
 * A record or tombstone as an item of the Objects table. A tombstone finds no work, so it is not in `by-placement`; it is in
 * `by-key` while it remembers a file, so that a pass over that file's backend meets it.
 */
export function entryToItem(entry: Entry): Item {
  if (entry.kind === 'tombstone') {
    const { kind: _, ...attributes } = entry;
    return isInKeyIndex(entry) ? { ...attributes, shard: shardOf(entry.key) } : attributes;
  }
  const { kind: _, policy: _policy, condition: _condition, ...attributes } = entry;
  return { ...attributes, placement: placementLabel(entry), shard: shardOf(entry.key) };
}

export function queueItemToItem(item: QueueItem): Item {
  return { ...item, lane: laneOf(item) };
}

const encryption = v.object({
  plaintextSha256: v.exactOptional(v.string()),
  plaintextBytes: v.number(),
  keyId: v.string(),
});
const content = {
  sha256: v.exactOptional(v.string()),
  headersSha256: v.exactOptional(v.string()),
  encryption: v.exactOptional(encryption),
  writtenAs: v.exactOptional(v.string()),
};
// Not v.record(), which copies.
const textMap = v.custom<Record<string, string>>(isTextMap, 'not a map of strings');
/** Only what Holdfast writes: no set, no binary, and no number that JavaScript cannot hold. */
const anyMap = v.custom<Record<string, unknown>>(
  (value) => isMap(value) && isPlain(value),
  'not a map of plain values',
);
const stuckReason = v.object({
  leg: v.picklist(['source', 'target']),
  cause: v.string(),
  message: v.string(),
  attempts: v.number(),
  refusedAt: v.number(),
  nextTryAt: v.number(),
  asOf: v.string(),
});
const stuckReasons = v.custom<Record<string, StuckReason>>(
  (value) => isMap(value) && Object.values(value).every((reason) => v.is(stuckReason, reason)),
  'not a map of refusals',
);

const objectItem = v.object({
  key: v.string(),
  generation: v.string(),
  rev: v.number(),
  sizeBytes: v.number(),
  createdAt: v.number(),
  ...content,
  copies: textMap,
  stuck: v.exactOptional(stuckReasons),
  placement: v.pipe(v.string(), v.regex(/^[^/]+\/\d\d\//, 'not a placement label')),
  plainEtags: v.exactOptional(textMap),
});

const tombstoneItem = v.object({
  key: v.string(),
  generation: v.string(),
  rev: v.number(),
  deletedAt: v.number(),
  ttl: v.exactOptional(v.number()),
  plainEtags: v.exactOptional(textMap),
});

const queueItem = v.object({
  id: v.string(),
  state: v.picklist(queueStates),
  backend: v.string(),
  storageKey: v.string(),
  key: v.string(),
  generation: v.string(),
  sizeBytes: v.number(),
  createdAt: v.number(),
  dueAt: v.number(),
  ...content,
  cause: v.picklist(queueCauses),
  reason: v.string(),
  attempts: v.number(),
  lastError: v.exactOptional(v.string()),
  claimedBy: v.exactOptional(v.string()),
  claimedAt: v.exactOptional(v.number()),
  drainSince: v.exactOptional(v.number()),
  copiedBy: v.exactOptional(v.string()),
  plainEtag: v.exactOptional(v.string()),
  intent: v.exactOptional(v.object({ replaces: v.exactOptional(v.string()) })),
  transfer: v.exactOptional(
    v.object({
      from: v.string(),
      uploadId: v.string(),
      partSizeBytes: v.number(),
      partsDone: v.number(),
      hashState: v.string(),
      sha256: v.exactOptional(v.string()),
      isUnproven: v.exactOptional(v.boolean()),
      needsProof: v.exactOptional(v.boolean()),
      partsDigest: v.exactOptional(v.string()),
      leaves: v.exactOptional(v.string()),
      failedLeg: v.exactOptional(v.picklist(['source', 'target'])),
      failedSources: v.exactOptional(v.array(v.string())),
      restarts: v.exactOptional(v.number()),
      sourceKey: v.exactOptional(v.string()),
    }),
  ),
});

const countItem = v.object({ objects: v.number(), bytes: v.number() });
const rowItem = v.object({
  pk: v.string(),
  sk: v.string(),
  version: v.number(),
  data: anyMap,
  ttl: v.exactOptional(v.number()),
});
const usageItem = v.object({
  requests: v.number(),
  classA: v.number(),
  classB: v.number(),
  egressBytes: v.number(),
  ingressBytes: v.number(),
});
const leaseItem = v.object({
  pk: v.pipe(v.string(), v.startsWith('lease/')),
  sk: v.string(),
  holder: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  cursor: v.exactOptional(v.string()),
  last: v.exactOptional(anyMap),
});

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isPlain(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isPlain);
  if (isMap(value)) return Object.values(value).every(isPlain);
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

function isTextMap(value: unknown): boolean {
  return isMap(value) && Object.values(value).every((entry) => typeof entry === 'string');
}

export function entryOf(item: Item, table: string): Entry {
  if (item.placement === undefined) return { kind: 'tombstone', ...read(tombstoneItem, item, table) };
  const { placement, ...record } = read(objectItem, item, table);
  // The label's shard is not needed: only its policy part is not derived from the rest of the record.
  const { policy, condition } = parsePlacement(placement);
  return { kind: 'object', ...record, policy, condition };
}

export function queueItemOf(item: Item, table: string): QueueItem {
  return read(queueItem, item, table);
}

/** Tells a counter from a row of the Control table. */
export function isCounter(item: Item): boolean {
  return item.version === undefined;
}

export function countOf(item: Item, table: string): Count {
  return read(countItem, item, table);
}

export function rowOf(item: Item, table: string): ControlRow {
  return read(rowItem, item, table);
}

export function usageOf(item: Item, table: string): Usage {
  return read(usageItem, item, table);
}

export function leaseOf(item: Item, table: string): Lease {
  const { pk, sk, ...lease } = read(leaseItem, item, table);
  return { worker: pk.slice('lease/'.length), part: sk, ...lease };
}

/** An attribute that must be a string, for keys that need no schema. */
export function textOf(item: Item, attribute: string, table: string): string {
  const value = item[attribute];
  return typeof value === 'string' ? value : malformed(item, table, attribute, 'not a string');
}

function read<S extends v.GenericSchema>(schema: S, item: Item, table: string): v.InferOutput<S> {
  const parsed = v.safeParse(schema, item, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  return malformed(item, table, v.getDotPath(issue) ?? '', issue.message);
}

function malformed(item: Item, table: string, attribute: string, problem: string): never {
  const key = ['key', 'id', 'pk', 'sk']
    .filter((name) => typeof item[name] === 'string')
    .map((name) => item[name])
    .join('" / "');
  throw new StoreError(
    'malformed',
    `Item "${key}" of table "${table}" is malformed: attribute "${attribute}": ${problem}`,
  );
}
