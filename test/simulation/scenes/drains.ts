import { emptied } from './leaving.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;
const hour = 60 * minute;

/** An object of ours on a backend that drains, with its copies elsewhere by now. */
async function drained(stage: Stage) {
  const { oracle, faults, actors, surroundings, random } = stage;
  if (!(await stage.isReady())) return undefined;
  await stage.apply(stage.roomyFile(1));
  const record = await stage.putNew(1, 40);
  if (record === undefined) return undefined;
  const [backend] = Object.keys(record.copies) as [string];
  faults.count('backend drained');
  actors.drain(backend, random.chance(0.5));
  await stage.settle();
  const since = surroundings.drains().get(backend);
  await stage.tick('replicator');
  const moved = stage.recordOf(record.key);
  if (since === undefined || moved === undefined || Object.keys(moved.copies).length < 2) return undefined;
  const id = `${backend}/${stage.storageOf(record, backend)}`;
  return { backend, since, record, id, isQueued: () => oracle.queue.get(id)?.drainSince !== undefined };
}

/** What is left of the drain ends, and what it had queued. */
async function goOn({ actors, settle, idle, tick, surroundings }: Stage): Promise<void> {
  for (const [backend, since] of surroundings.drains()) actors.undrain(backend, since);
  await settle();
  for (const ms of [6, 6].map((n) => n * minute)) {
    await idle(ms);
    await tick('cleanup-queue');
  }
}

/** A cleaner sleeps over the end of a drain right before it takes copies out of their records for it. */
export async function cleanerSleepsOverUndrain(stage: Stage): Promise<boolean> {
  const { world, actors } = stage;
  const it = await drained(stage);
  if (it === undefined) return false;
  const { actor } = actors.startTick('over-replication-cleaner', {}, 900_000);
  const hasRead = () => [...actor.calls.keys()].some((name) => name.endsWith(' GET'));
  const isThere = await stage.untilAt(actor, () => hasRead() && world.isReadingFleet(actor));
  if (isThere) {
    world.freeze(actor, 5 * minute);
    // It is told how the fleet was until now.
    await stage.advance();
    actors.undrain(it.backend, it.since);
    await stage.settleBeside(actor);
  }
  await stage.settle();
  await goOn(stage);
  return isThere;
}

/** What a drain has queued is of a content that is overwritten before the drain ends. */
export async function overwrittenBeforeUndrain(stage: Stage): Promise<boolean> {
  const { actors } = stage;
  const it = await drained(stage);
  if (it === undefined) return false;
  await stage.tick('over-replication-cleaner');
  const isThere = it.isQueued();
  if (isThere) await stage.asClient((client) => actors.put(client, it.record.key));
  await goOn(stage);
  return isThere;
}

/** What a drain queued, and a clean-up that is about to delete it. */
async function deletionBegun(stage: Stage) {
  const it = await drained(stage);
  if (it === undefined) return undefined;
  await stage.tick('over-replication-cleaner');
  if (!it.isQueued()) return undefined;
  await stage.idle(6 * minute);
  const { actor } = stage.actors.startTick('cleanup-queue', {}, 900_000);
  return { it, actor };
}

/** The request that deletes bytes for a drain takes effect an hour after its process died and the drain ended. */
export async function lateDeletionOfDrain(stage: Stage): Promise<boolean> {
  const { world, actors } = stage;
  const begun = await deletionBegun(stage);
  if (begun === undefined) return false;
  const { it, actor } = begun;
  const isThere = await stage.untilAt(actor, () => world.isAsking(actor, 'DELETE'));
  if (isThere) {
    world.leaveBehind(actor, 'DELETE', 60 * minute);
    actors.kill(actor);
    actors.undrain(it.backend, it.since);
    await stage.settle();
    await stage.idle(61 * minute);
  }
  await stage.settle();
  await goOn(stage);
  return isThere;
}

/** One that has claimed what a drain queued sleeps for a minute, and the drain ends. */
export async function claimantSleepsOverUndrain(stage: Stage): Promise<boolean> {
  const { world, oracle, actors } = stage;
  const begun = await deletionBegun(stage);
  if (begun === undefined) return false;
  const { it, actor } = begun;
  const isClaimed = () => oracle.queue.get(it.id)?.claimedBy !== undefined;
  const isThere = await stage.untilAt(actor, () => isClaimed() && world.isAsking(actor, 'objects'));
  if (isThere) {
    world.freeze(actor, minute);
    await stage.advance();
    actors.undrain(it.backend, it.since);
  }
  await stage.settle();
  await goOn(stage);
  return isThere;
}

/**
 * A put has chosen an empty backend, and sleeps until the drain of that is as old as it must be. It is asked just before the
 * drain is closed whether the backend takes anything, and what it names there is on its way while an operator asks how far the
 * drain is.
 */
export async function putSleepsOverDrain(stage: Stage): Promise<boolean> {
  const { world, faults, actors, surroundings } = stage;
  if (!(await stage.isReady())) return false;
  const backend = await emptied(stage);
  if (backend === undefined) return false;
  // Content that is sealed would be sealed anew after such a sleep.
  await stage.apply(stage.roomyFile(1, { backends: [backend], encrypt: false }));
  const client = actors.startClient();
  const { actor } = client;
  actors.put(client, stage.random.pick(stage.plan.keys), { timeoutMs: 4 * hour, copies: 1 });
  // Whose the bucket is, is the last that it asks before it names anything there.
  let isThere = await stage.untilAt(actor, () => world.isAsking(actor, 'HEAD'));
  if (isThere) {
    world.freeze(actor, 12 * hour);
    actors.apply(stage.roomyFile(1));
    await stage.settleBeside(actor);
    faults.count('backend drained');
    actors.drain(backend, false);
    await stage.settleBeside(actor);
    for (const until = world.now + 25 * minute; world.now < until; ) world.pass(until - world.now);
    world.thawAll();
    isThere = await stage.untilAt(actor, () => world.isAsking(actor, 'transact', `intent:${backend}/`));
    isThere &&= surroundings.drains().has(backend);
  }
  if (isThere) {
    world.delay(actor, 'transact', 9_000);
    for (let asked = 0; asked < 3; asked += 1) {
      actors.askDrain(backend);
      await stage.settleBeside(actor);
      world.pass(2_000);
    }
  }
  await stage.settle();
  actors.close(client);
  await goOn(stage);
  await stage.apply(stage.roomyFile(1));
  return isThere;
}
