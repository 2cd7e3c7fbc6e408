import { forEachConcurrently } from '../../base/pool.ts';
import type { QueueItem } from '../../store/model.ts';
import { StoreError } from '../../store/port.ts';
import type { Tick } from '../../tick/tick.ts';

/** `claimed` for this tick · `taken` by another since it was found · `unknown` the claim may stand; it runs out by itself. */
export type Claim =
  | { readonly outcome: 'claimed'; readonly item: QueueItem }
  | { readonly outcome: 'taken' | 'unknown'; readonly item: QueueItem };

export type ClaimTick = Pick<Tick, 'runId' | 'params' | 'tuning' | 'now'> & {
  readonly deps: { readonly store: Pick<Tick['deps']['store'], 'write'> };
};

/** Claims items one by one, each on condition that it is still due when it was found to be. */
export async function claimAll(tick: ClaimTick, items: readonly QueueItem[]): Promise<Claim[]> {
  const claims: Claim[] = new Array(items.length);
  await forEachConcurrently([...items.entries()], tick.tuning.concurrency, async ([i, item]) => {
    claims[i] = await claim(tick, item);
  });
  return claims;
}

async function claim(tick: ClaimTick, found: QueueItem): Promise<Claim> {
  const now = tick.now();
  const item = { ...found, claimedBy: tick.runId, claimedAt: now, dueAt: now + tick.params.claimGraceMs };
  try {
    const expect = { state: 'cleanup', dueAt: found.dueAt } as const;
    const answer = await tick.deps.store.write({ kind: 'queue', put: item, expect });
    return { outcome: answer.outcome === 'done' ? 'claimed' : 'taken', item };
  } catch (error) {
    if (!(error instanceof StoreError) || !mayStand.has(error.kind)) throw error;
    return { outcome: 'unknown', item };
  }
}

const mayStand: ReadonlySet<StoreError['kind']> = new Set(['unanswered', 'throttled', 'unreachable']);

/**
 * Whether there is time left to begin a deletion under a claim: from half its life on, somebody else may be about to take it
 * over, or wait for it to end.
 */
export function isClaimFresh(tick: Pick<Tick, 'now' | 'params'>, item: QueueItem): boolean {
  return tick.now() < (item.claimedAt ?? 0) + tick.params.claimGraceMs / 2;
}
