import { areNeighbours } from '../config/fleet-file.ts';
import { BackendError } from '../fleet/backend.ts';
import {
  copyingRequest,
  type ExceededLimit,
  readingRequest,
  type Spend,
  writingRequest,
} from '../fleet/usage-limits.ts';
import type { ObjectRecord } from '../store/model.ts';
import { readingOf, type Spent } from '../transfer/budget.ts';
import { type CopyOutcome, copy } from '../transfer/copy.ts';
import type { CopyTurn } from './copy-turn.ts';
import type { Orphan } from './enqueue-orphans.ts';
import { isBig } from './transfers/begin.ts';

/** A small object's copy to make: it is on the one backend, and not on the other. */
export interface CopyPlan {
  readonly object: ObjectRecord;
  readonly source: string;
  readonly target: string;
}

/** What became of it. `over-limit`: a usage limit of this month stands in the way of either leg. */
export interface MadeCopy {
  readonly copyId: string;
  readonly outcome: CopyOutcome | { readonly outcome: 'over-limit'; readonly reason: ExceededLimit };
  /** Bytes that were written on the way, and are not this copy. */
  readonly orphans: readonly Omit<Orphan, 'object'>[];
}

/** Makes one copy at a fresh storage key: by the storage itself where it can and proves it, else streamed. Records nothing. */
export async function makeCopy(turn: CopyTurn, plan: CopyPlan): Promise<MadeCopy> {
  const orphans: MadeCopy['orphans'][number][] = [];
  if (isWithin(turn, plan)) {
    const attempt = await within(turn, plan);
    if (attempt.outcome.outcome !== 'declined' && attempt.outcome.outcome !== 'unattested')
      return { copyId: attempt.copyId, outcome: attempt.outcome, orphans };
    const { source, target } = plan;
    turn.declined.add(pairOf(plan));
    if (attempt.outcome.outcome === 'unattested')
      orphans.push({ backend: target, copyId: attempt.copyId, reason: 'unattested' });
    const fields = { key: plan.object.key, source, target, message: attempt.outcome.detail };
    turn.tick.deps.log.warn('Storage did not copy by itself: streamed', fields);
  }
  return { ...(await streamed(turn, plan)), orphans };
}

/** What a copy spends at both ends. Bytes that the storage copies by itself do not pass here and are not charged. */
export function spendOf(turn: CopyTurn, plan: CopyPlan): { reading: Spend; writing: Spend } {
  if (isWithin(turn, plan)) return { reading: readingRequest, writing: copyingRequest };
  return bytesOf(plan.object);
}

function bytesOf(object: ObjectRecord): { reading: Spend; writing: Spend } {
  return { reading: readingOf(object), writing: { ...writingRequest, ingressBytes: object.sizeBytes } };
}

/** Whether the storage is to make this copy by itself. */
function isWithin({ tick, declined }: CopyTurn, plan: CopyPlan): boolean {
  const { object, source, target } = plan;
  const { attestsCopies, conditionalCopies } = tick.view.capabilities(target);
  if (attestsCopies !== true || declined.has(pairOf(plan))) return false;
  // Nothing attests the SHA-256 of a whole that is copied in parts; and what has no hash cannot be attested.
  if (object.sha256 === undefined || isBig(tick, object)) return false;
  const [from, to] = [source, target].map((name) => tick.standing(name).config);
  if (from === undefined || to === undefined || !areNeighbours(from, to)) return false;
  // The role of a function creates keys only where nothing stands.
  return to.credentials !== 'role' || conditionalCopies === true;
}

function pairOf({ source, target }: CopyPlan): string {
  return `${source} ${target}`;
}

function within(turn: CopyTurn, plan: CopyPlan) {
  const { bucket, prefix } = turn.tick.standing(plan.source).config!;
  return spending(turn, plan, spendOf(turn, plan), async (request) => {
    // Most fleets never need it: a cold start does not load it.
    const { copyWithin } = await import('../transfer/copy-within.ts');
    return copyWithin({ ...request, place: { bucket, prefix } }, turn.tick.signal);
  });
}

function streamed(turn: CopyTurn, plan: CopyPlan) {
  return spending(turn, plan, bytesOf(plan.object), (request) => copy(request, turn.tick.signal));
}

/** Runs a copy within the usage limits, by what others have on their way too. */
async function spending<T>(
  { tick, budget }: CopyTurn,
  { object, source, target }: CopyPlan,
  { reading, writing }: { reading: Spend; writing: Spend },
  run: (request: Parameters<typeof copy>[0]) => Promise<T>,
): Promise<{ copyId: string; outcome: T | Extract<Spent<T>, { outcome: 'over-limit' }> }> {
  const copyId = tick.deps.ids.ulid();
  const claims = [
    { backend: source, ...reading },
    { backend: target, ...writing },
  ];
  const spent = await budget.spend(claims, async () => {
    const [from, to] = await Promise.all([tick.backend(source), tick.backend(target)]);
    const { fleetId, params } = tick;
    return run({ object, from, to, copyId, fleetId, preservesTags: params.preservesTags });
  });
  if (spent.outcome === 'over-limit') return { copyId, outcome: spent };
  return { copyId, outcome: overLimitOf(spent.value) ?? spent.value };
}

/** A request that a usage limit kept from being sent is nobody's failure. */
export function overLimitOf(outcome: unknown): Extract<Spent<never>, { outcome: 'over-limit' }> | null {
  const { error } = outcome as { readonly error?: unknown };
  if (!(error instanceof BackendError) || error.limit === undefined) return null;
  return { outcome: 'over-limit', backend: error.backend, reason: error.limit };
}
