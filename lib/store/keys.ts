import { hash } from 'node:crypto';
import type { Ids } from '../base/ids.ts';
import { type Condition, conditions, type Entry, type ObjectRecord, type QueueItem, type QueueState } from './model.ts';

/** Number of shards: the unit of spreading and of parallel ticks. */
export const shardCount = 16;

/** Every shard name, `00` to `15`. */
export const shards: readonly string[] = Array.from({ length: shardCount }, (_, i) => String(i).padStart(2, '0'));

/** The shard of an object: first byte of SHA-256(UTF-8 key) & 15, as two digits. */
export function shardOf(key: string): string {
  const first = hash('sha256', key, 'buffer')[0]!;
  return shards[first & 15]!;
}

/** The shards of part `part` of `of`: disjoint over the parts, together all sixteen. */
export function shardsOfPart(part: number, of: number): readonly string[] {
  return shards.filter((_, i) => i % of === part);
}

/** Where a copy's bytes are, below the backend's prefix: a fresh key per transfer, or the object's own key for a plain copy. */
export function storageKey(key: string, copyId: string): string {
  return copyId === '' ? key : `${key}!${copyId}`;
}

const copySuffix = /^(.+)!([0-7][0-9A-HJKMNP-TV-Z]{25})$/s;

/** The object key and copy id of a storage key that Holdfast could have written; null for any other. */
export function parseStorageKey(storage: string): { key: string; copyId: string } | null {
  const match = copySuffix.exec(storage);
  return match ? { key: match[1]!, copyId: match[2]! } : null;
}

/** The id of the queue item for bytes on a backend. A plain key carries its ETag: the file may be replaced by its owner. */
export function queueId(backend: string, storage: string, plainEtag?: string): string {
  return plainEtag === undefined ? `${backend}/${storage}` : `${backend}/${storage}/${plainEtag}`;
}

/** The partition of the `due` index in which an item waits. */
export function laneOf(item: Pick<QueueItem, 'state' | 'backend' | 'key'>): string {
  return lane(item.state, item.backend, shardOf(item.key));
}

export function lane(state: QueueState, backend: string, shard: string): string {
  return `${state}/${backend}/${shard}`;
}

/** A copy id for bytes about to be written: a storage key is never written twice. */
export function newCopyId(ids: Pick<Ids, 'ulid'>): string {
  return ids.ulid();
}

/** The copy id of bytes of an object; empty for a plain copy. */
export function copyIdOf({ key, storageKey: storage }: Pick<QueueItem, 'key' | 'storageKey'>): string {
  return storage.slice(key.length + 1);
}

/** The objects that could record the bytes at a storage key: the object of that key, and the object that they may be a copy of. */
export function keysThatMayName(storage: string): string[] {
  const copy = parseStorageKey(storage);
  return copy === null ? [storage] : [storage, copy.key];
}

/** Whether an entry is in the key-ordered index: objects, and tombstones that remember a file. */
export function isInKeyIndex(entry: Entry): boolean {
  return entry.kind === 'object' || entry.plainEtags !== undefined;
}

/** One copy within a placement. */
export interface PlacedCopy {
  readonly backend: string;
  readonly isPlain: boolean;
}

/** What a placement label says. */
export interface Placement {
  readonly policy: string;
  readonly condition: Condition;
  readonly copies: readonly PlacedCopy[];
}

/** How the policy part of a label ends. */
const markOf: { readonly [C in Condition]: string } = {
  sound: '',
  stuck: '!stuck',
  damaged: '!damaged',
  recovering: '!recovering',
};

/** `b2+oci*`: the backends of a record, sorted, plain copies marked. */
export function placementSet(copies: Readonly<Record<string, string>>): string {
  let set = '';
  for (const backend of Object.keys(copies).sort())
    set += `${set === '' ? '' : '+'}${backend}${copies[backend] === '' ? '*' : ''}`;
  return set;
}

function policyPart({ policy, condition }: Pick<ObjectRecord, 'policy' | 'condition'>): string {
  return policy + markOf[condition];
}

/** `<policy>/<shard>/<b1+b2>`: the partition of the `by-placement` index. */
export function placementLabel(record: ObjectRecord): string {
  return `${policyPart(record)}/${shardOf(record.key)}/${placementSet(record.copies)}`;
}

/** `<policy>/<b1+b2>`: the ledger's unit. */
export function ledgerPlacement(record: ObjectRecord): string {
  return `${policyPart(record)}/${placementSet(record.copies)}`;
}

/** The index partition of a ledger placement within one shard. */
export function labelInShard(placement: string, shard: string): string {
  const at = placement.indexOf('/');
  return `${placement.slice(0, at)}/${shard}${placement.slice(at)}`;
}

/** Reads `<policy>/<b1+b2>`. Throws on anything else. */
export function parsePlacement(text: string): Placement {
  const at = text.indexOf('/');
  if (at < 1) throw new Error(`Not a placement: "${text}"`);
  const label = text.slice(0, at);
  const condition = conditions.find((c) => c !== 'sound' && label.endsWith(markOf[c])) ?? 'sound';
  const set = text.slice(at + 1);
  return {
    policy: label.slice(0, label.length - markOf[condition].length),
    condition,
    copies: set === '' ? [] : set.split('+').map(placedCopy),
  };
}

function placedCopy(part: string): PlacedCopy {
  return part.endsWith('*') ? { backend: part.slice(0, -1), isPlain: true } : { backend: part, isPlain: false };
}
