import { readingRequest, writingRequest } from '../../fleet/usage-limits.ts';
import { lane } from '../../store/keys.ts';
import type { QueueItem } from '../../store/model.ts';
import type { DueItemsTick } from '../../tick/due-items.ts';
import { findDue } from '../../tick/due-items.ts';
import type { Tick } from '../../tick/tick.ts';
import type { Budget, Claim } from '../../transfer/budget.ts';
import { isLeftAlone } from '../write-check.ts';

/** What this file asks of a tick. */
export type PendingTick = Pick<Tick, 'deps' | 'shards' | 'view' | 'now'> & DueItemsTick;

/**
 * The big copies under way, by object: so that none is begun twice. What they have still to move is set aside of the month's
 * limits, so that no more is begun than the month allows.
 */
export interface PendingTransfers {
  of(key: string): readonly QueueItem[];
  /** A transfer as it is now. */
  note(item: QueueItem): void;
  /** Whoever goes on with it now spends for himself; `note` sets aside what is left then. */
  release(item: QueueItem): void;
  /** It has ended. */
  forget(item: QueueItem): void;
}

/** Whether its target keeps a transfer from going on: then it is not counted on, and another backend may take the copy. */
export function isHeldByTarget(tick: Pick<Tick, 'view' | 'now'>, { backend, transfer }: QueueItem): boolean {
  return transfer!.failedLeg === 'target' || isLeftAlone(tick, backend);
}

/** Reads the transfers of this part, of all backends. */
export async function readPendingTransfers(tick: PendingTick, budget: Budget): Promise<PendingTransfers> {
  const pending = createPendingTransfers(tick, budget);
  for (const backend of tick.view.namedBackends()) {
    if (tick.view.queue('transfer', backend).objects <= 0) continue;
    for (const shard of tick.shards) {
      let after: string | undefined;
      do {
        const page = await tick.deps.store.due(lane('transfer', backend, shard), Number.MAX_SAFE_INTEGER, 1000, after);
        for (const item of page.items) pending.note(item);
        after = page.next;
      } while (after !== undefined);
    }
  }
  return pending;
}

function createPendingTransfers(tick: PendingTick, budget: Budget): PendingTransfers {
  const byKey = new Map<string, readonly QueueItem[]>();
  const setAside = new Map<string, (() => void)[]>();
  const of = (key: string) => byKey.get(key) ?? [];
  const release = ({ id }: QueueItem) => {
    for (const giveBack of setAside.get(id) ?? []) giveBack();
    setAside.delete(id);
  };
  const forget = (item: QueueItem) => {
    release(item);
    byKey.set(
      item.key,
      of(item.key).filter(({ id }) => id !== item.id),
    );
  };
  return {
    of,
    release,
    forget,
    note(item) {
      forget(item);
      byKey.set(item.key, [...of(item.key), item]);
      // What its target holds back waits there: others do not wait for it.
      if (isHeldByTarget(tick, item)) return;
      const claims = claimsOf(item);
      setAside.set(
        item.id,
        claims.map(({ backend, ...spend }) => budget.reserve(backend, spend)),
      );
    },
  };
}

/** Whether a transfer waits for somebody to go on with it. */
export async function hasDueTransfers(tick: PendingTick): Promise<boolean> {
  return (await findDue(tick, 'transfer', undefined, 1)).items.length > 0;
}

/** What a transfer has still to move, out of a source and into its target. */
export function claimsOf(item: QueueItem, source: string | null = item.transfer!.from): Claim[] {
  const { partsDone, partSizeBytes, sha256 } = item.transfer!;
  // Once all is sent only its end is missing; what is read back is claimed then.
  const isSent = sha256 !== undefined;
  const restBytes = isSent ? 0 : Math.max(0, item.sizeBytes - partsDone * partSizeBytes);
  // A request for each part; one begins the upload, and one ends it.
  const parts = Math.ceil(restBytes / partSizeBytes);
  const around = isSent || partsDone > 0 ? 1 : 2;
  const writing = { ...writingRequest, backend: item.backend, requests: parts + around, ingressBytes: restBytes };
  if (isSent || source === null) return [writing];
  const requests = Math.max(1, parts);
  return [writing, { ...readingRequest, backend: source, requests, egressBytes: restBytes }];
}
