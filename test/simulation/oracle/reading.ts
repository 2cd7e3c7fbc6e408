import { hash } from 'node:crypto';
import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { ObjectRecord } from '../../../lib/store/model.ts';
import type { MemoryObject } from '../../../lib/testing/backend/memory-backend.ts';
import type { Description } from './content.ts';

// The oracle's own reading of keys, labels, policies and bytes: it shares no code with lib/, only types.

export function storageKeyOf(key: string, copyId: string): string {
  return copyId === '' ? key : `${key}!${copyId}`;
}

/** The object key within a storage key that carries a copy id; null for any other. */
export function keyWithin(storageKey: string): string | null {
  const at = storageKey.lastIndexOf('!');
  return at > 0 && storageKey.length - at === 27 ? storageKey.slice(0, at) : null;
}

/** `<policy>[!damaged]/<b1+b2*>` */
export function labelOf({ policy, condition, copies }: ObjectRecord): string {
  const names = Object.keys(copies).sort();
  return `${policy}${condition === 'sound' ? '' : `!${condition}`}/${names.map((name) => (copies[name] === '' ? `${name}*` : name)).join('+')}`;
}

export function factorOf(file: FleetFile, key: string): number {
  return ruleFor(file, key).factor;
}

export function deleteGraceMsOf(file: FleetFile, key: string): number {
  return (ruleFor(file, key).deleteGraceHours ?? 0) * 3_600_000;
}

function ruleFor(file: FleetFile, key: string): FleetFile['policies'][string] {
  let longest = -1;
  let rule = file.policies.default!;
  for (const policy of Object.values(file.policies)) {
    const prefix = policy.prefix ?? '';
    if (prefix.length <= longest || !key.startsWith(prefix)) continue;
    longest = prefix.length;
    rule = policy;
  }
  return rule;
}

/** Whether the policy of a key has copies on a backend. */
export function isAllowed(file: FleetFile, key: string, backend: string): boolean {
  const { backends, excludeBackends } = ruleFor(file, key);
  return (backends === undefined || backends.includes(backend)) && excludeBackends?.includes(backend) !== true;
}

/** Whether copies of a key are kept apart by more than their backends. */
export function isKeptApart(file: FleetFile, key: string): boolean {
  return ruleFor(file, key).spreadOver !== undefined;
}

/** What a policy keeps apart: as many places as copies on these backends stand in. */
export function placesOf(file: FleetFile, key: string, backends: readonly string[]): number {
  const { spreadOver } = ruleFor(file, key);
  const place = (name: string) =>
    spreadOver === undefined ? name : file.backends.find((one) => one.name === name)?.labels?.[spreadOver];
  return new Set(backends.map(place)).size;
}

/** What travels with a content: all but our mark. */
export function descriptionIn({ headers, metadata }: Pick<MemoryObject, 'headers' | 'metadata'>): Description {
  const { holdfast: _mark, ...own } = metadata;
  return { headers, metadata: own };
}

const hashes = new WeakMap<MemoryObject, string>();

export function hashOf(object: MemoryObject): string {
  const known = hashes.get(object);
  if (known !== undefined) return known;
  const sha256 = sha256Of(object.bytes);
  hashes.set(object, sha256);
  return sha256;
}

export function sha256Of(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}
