import { allEnded } from '../../base/pool.ts';
import type { PendingTick } from '../../steps/transfers/pending.ts';
import { hasDueTransfers } from '../../steps/transfers/pending.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import type { PlacementsTick } from './placements.ts';
import { stuckPlacements, underReplicated } from './placements.ts';
import type { RoundsTick } from './rounds.ts';

/** What this file asks of a tick. */
export type ReplicatorTick = Pick<Tick, 'config'> & HealthTick & PendingTick & PlacementsTick & RoundsTick;

/**
 * The replicator gives every object the number of counted copies that its policy asks for.
 *
 * It writes a copy under a fresh storage key, verifies it, and only then records it, on condition that the object is still
 * what it was when it was read. What was written and could not be recorded is enqueued for deletion. It removes nothing,
 * except that a source found missing or wrong goes to `quarantine`. Big objects are copied by transfers, which are named
 * before their first byte is written and go on over as many ticks as they take.
 *
 * One object that a backend refuses costs itself, and nobody else waits for it: the refusal is written on its record and
 * backs off. An object that every backend refuses is stuck: it is tried again, with a share of every tick. A backend that
 * refuses everything is found out by a write of a few bytes, and is left alone for a while.
 *
 * It is also the health check: each tick asks every backend's owner object.
 *
 * Rules: [replicator-finds], [replicator-targets], [replicator-sources], [replicator-failures], [replicator-health-check]
 */
export const replicator: Worker = { name: 'replicator', hasWork, begin };

/** The health check, and then from the ledger alone. */
async function hasWork(tick: ReplicatorTick): Promise<boolean> {
  await allEnded(tick.config.backends.map(({ name }) => isUsable(tick, name)));
  return underReplicated(tick).length > 0 || stuckPlacements(tick).length > 0 || (await hasDueTransfers(tick));
}

/** Most ticks find nothing to do: a cold start does not load what does it. */
async function begin(tick: ReplicatorTick): Promise<Round> {
  const { beginRounds } = await import('./rounds.ts');
  return beginRounds(tick);
}
