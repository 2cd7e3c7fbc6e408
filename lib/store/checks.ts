import { hash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { shardOf } from './keys.ts';
import type { ControlRow } from './model.ts';
import type { Store } from './port.ts';
import { checksKey } from './row-keys.ts';

/** An object that somebody found a wrong copy of, so that the scrubber reads it before its turn. */
export interface Check {
  readonly key: string;
  readonly backend: string;
  /** Of the copy that was found wrong: another one is no longer in question. */
  readonly generation: string;
  readonly copyId: string;
  /** For people. */
  readonly reason: string;
  /** Milliseconds since the epoch. */
  readonly requestedAt: number;
  /** Milliseconds since the epoch. */
  readonly dueAt: number;
  /** Checks that led to nothing. */
  readonly attempts: number;
}

/** A check as it is kept. */
export interface KeptCheck extends Check {
  readonly row: ControlRow;
}

type ChecksDeps = { readonly store: Pick<Store, 'control' | 'write'>; readonly clock: Clock };

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** By then a scrub cycle has met it. */
const longestMs = 7 * dayMs;

/** Asks for a check; one per object is enough, so that a second request changes nothing. */
export async function requestCheck(
  { store, clock }: ChecksDeps,
  asked: Pick<Check, 'key' | 'backend' | 'generation' | 'copyId' | 'reason'>,
): Promise<void> {
  const now = clock.now();
  const data = { ...asked, reason: asked.reason.slice(0, 300), requestedAt: now, dueAt: now, attempts: 0 };
  const sk = `${shardOf(asked.key)}/${hash('sha256', asked.key).slice(0, 32)}`;
  await store.write({ kind: 'row', put: { pk: checksKey, sk, version: 1, data }, expect: 'absent' });
}

/** The checks of some shards that are due, those asked for longest first. */
export async function dueChecks({ store, clock }: ChecksDeps, shards: readonly string[]): Promise<KeptCheck[]> {
  const { rows } = await store.control(checksKey);
  return rows
    .filter(({ sk }) => shards.includes(sk.split('/')[0]!))
    .map((row) => ({ ...(row.data as unknown as Check), row }))
    .filter(({ dueAt }) => dueAt <= clock.now())
    .sort((a, b) => a.requestedAt - b.requestedAt);
}

/** It led to something, or is no longer in question. */
export async function endCheck({ store }: ChecksDeps, { row }: KeptCheck): Promise<void> {
  await store.write({ kind: 'row-end', pk: row.pk, sk: row.sk, expect: row.version });
}

/** It led to nothing: it is tried again after 1 h, then 2, 4 … at most 24, and for a week in all. */
export async function putOffCheck(deps: ChecksDeps, check: KeptCheck): Promise<void> {
  const { row, attempts, requestedAt } = check;
  const now = deps.clock.now();
  if (now - requestedAt > longestMs) return endCheck(deps, check);
  const dueAt = now + Math.min(dayMs, hourMs * 2 ** attempts);
  const put = { ...row, version: row.version + 1, data: { ...row.data, attempts: attempts + 1, dueAt } };
  await deps.store.write({ kind: 'row', put, expect: row.version });
}
