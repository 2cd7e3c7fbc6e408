import './sync-wasm.ts';
import './preloaded.ts';
import { createMemoryBackend, type MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import type { MemorySnapshot } from '../../lib/testing/store/memory-tables.ts';
import { createActors } from './actors.ts';
import { createBucketEvents } from './bucket-events.ts';
import { createCalm } from './calm.ts';
import { createChaos } from './chaos.ts';
import { createExternalClients } from './external-clients.ts';
import { createFaults } from './faults.ts';
import { createPlan } from './fleet.ts';
import { createLaggingIndexes } from './lagging-indexes.ts';
import { createOracle, type Oracle } from './oracle/oracle.ts';
import { Violation } from './oracle/violation.ts';
import { createRandom } from './random.ts';
import { createRefusals } from './refusals.ts';
import { restore } from './restore.ts';
import { type SceneName, scenesOf } from './scenes/scenes.ts';
import { createSurroundings } from './surroundings.ts';
import { createWorld } from './world.ts';

export interface HistoryResult {
  readonly seed: number;
  readonly violation: Pick<Violation, 'invariant' | 'message' | 'key'> | null;
  readonly backends: number;
  readonly objects: number;
  readonly steps: number;
  readonly simulatedMs: number;
  readonly faults: ReadonlyMap<string, number>;
  readonly orphans: number;
  readonly lines: readonly string[];
}

const noTimers = () => Promise.reject(new Error('Nothing waits inside a backend'));
const startAt = Date.UTC(2026, 0, 30, 12);
const recountEvery = 64;
const noDrains: ReadonlyMap<string, number> = new Map();

/**
 * Plays one history: the seed decides everything.
 *
 * @param only in place of most that happens, this scene alone at the end of a short and peaceful history
 */
export async function runHistory(seed: number, isTraced = false, only?: SceneName): Promise<HistoryResult> {
  const lines: string[] = [];
  const stream = (purpose: string) => createRandom(seed, purpose);
  const now = () => world.now;
  const faults = createFaults({ random: stream('faults'), stream, now, step: () => world.step });
  const world = createWorld({
    random: stream('schedule'),
    startAt,
    onFault: (fault) => faults.count(fault),
    lines: isTraced ? lines : undefined,
  });
  const plan = createPlan({ random: stream('plan'), stream, faults });
  const lag = stream('lag');
  const indexes = createLaggingIndexes(now, () =>
    plan.maxLagMs > 0 && !faults.isStopped() && lag.chance(0.5) ? lag.below(plan.maxLagMs) : 0,
  );
  const backends = new Map<string, MemoryBackend>();
  const neighbours: Record<string, MemoryBackend> = {};
  for (const { name } of plan.file.backends) {
    const capabilities = plan.capabilities[name]!;
    const clock = { now, sleep: noTimers };
    neighbours[name] = createMemoryBackend({ name, capabilities, neighbours, minPartBytes: 1, clock });
    backends.set(name, neighbours[name]);
  }
  const store: MemoryStore = createMemoryStore({
    clock: { now },
    indexes: {
      ...indexes,
      noteObject: (key, entry) => {
        oracle.objectChanged(key, entry);
        indexes.noteObject(key, entry);
      },
      noteQueueItem: (id, item) => {
        oracle.queueChanged(id, item);
        indexes.noteQueueItem(id, item);
      },
    },
  });
  const oracle: Oracle = createOracle({
    world,
    faults,
    backends,
    ledgerRows: () => store.allCounters(),
    snapshot: () => store.snapshot(),
    minAgeMs: Number(plan.env.RECONCILER_MIN_AGE_SECONDS) * 1000,
    maxLagMs: plan.maxLagMs,
    breakerFailures: Number(plan.env.BREAKER_FAILURES),
    drains: () => (faults.counts.has('backend drained') ? surroundings.drains() : noDrains),
  });
  const random = stream('surroundings');
  const refusals = createRefusals({
    random: stream('refusals'),
    faults,
    backends: [...backends.keys()],
    keys: plan.keys,
    versioned: plan.file.backends.map(({ name }) => name).filter((name) => plan.capabilities[name]?.keepsVersions),
  });
  const actors = createActors({
    world,
    faults,
    plan,
    oracle,
    refusals,
    store,
    backends,
    ids: stream('ids'),
    random,
    streams: stream('streams'),
    copiesAsked: stream('copies asked'),
  });
  const surroundings = createSurroundings(store, backends);

  let steps = 0;
  /** One step, and everything that must be so after it. False when nothing can happen now. */
  async function step(isCalm = false): Promise<boolean> {
    const did = isCalm ? world.advanceAll() : world.advance();
    // All that became possible inside the processes happens before the next step: promises first, in one turn.
    await new Promise(setImmediate);
    steps += 1;
    const violation = steps % recountEvery === 0 ? oracle.recount() : oracle.check();
    if (violation !== null) throw violation;
    return did || !world.isIdle();
  }

  const bucketEvents = createBucketEvents({ plan, actors, backends, random: stream('bucketEvents') });
  const externalClients = createExternalClients({
    world,
    faults,
    plan,
    oracle,
    backends,
    random: stream('externalClients'),
    likeness: stream('likeness'),
    told: bucketEvents.tell,
  });
  const chaos = createChaos({
    world,
    faults,
    plan,
    oracle,
    actors,
    surroundings,
    externalClients,
    bucketEvents,
    random: stream('chaos'),
    regrets: stream('regrets'),
  });
  const calm = createCalm({
    world,
    faults,
    refusals,
    plan,
    oracle,
    actors,
    surroundings,
    externalClients,
    random: stream('calm'),
    overtakenRandom: stream('overtaken'),
    scenes: (only === undefined ? scenesOf(seed) : [only]).map((name) => ({ name, random: stream(`scene ${name}`) })),
    step: () => step(true),
  });
  const isSavedAmidPut = stream('saved amid a put').chance(0.6);
  /** Tables are often saved when a put is about to be recorded, if one comes in time. */
  function isToBeSaved(from: number): boolean {
    if (world.step < from) return false;
    const isAmidPut = world.actors.some((actor) => actor.role === 'client' && world.isCommitting(actor));
    return isAmidPut || !isSavedAmidPut || world.step > from + 60;
  }

  let violation: HistoryResult['violation'] = null;
  let orphans = 0;
  try {
    await calm.begin();
    if (only === undefined) faults.start();
    if (plan.slowed !== undefined) actors.apply(plan.slowed);
    const last = world.step + (only === undefined ? plan.chaosSteps : 0);
    const wasDrained =
      plan.isRestored && faults.strikesAtRest('drained before the tables were saved', stream('wasDrained'), 0.8);
    // A backend that was drained then is empty, as some are in the beginning.
    const savedAt = stream('restore').below(plan.chaosSteps);
    const restoresTo = plan.isRestored ? world.step + (wasDrained ? 0 : savedAt) : undefined;
    let then: MemorySnapshot | undefined;
    const events = stream('events');
    while (world.step < last) {
      if (restoresTo !== undefined && isToBeSaved(restoresTo)) then ??= store.snapshot();
      if (events.chance(0.12)) chaos.event();
      chaos.watch();
      if (await step()) continue;
      if (events.chance(0.5)) world.jump();
      else chaos.event();
    }
    orphans = await calm.end();
    if (then !== undefined) {
      faults.count('metadata restored');
      const file = surroundings.fileInForce();
      const rot = stream('rot');
      const deaths = stream('deaths');
      await restore({
        startAt: world.now,
        snapshot: then,
        file,
        oracle,
        backends,
        env: plan.env,
        random: stream('restored'),
        trace: world.trace,
        wasDrained,
        parked: faults.strikesAtRest('parked at a take-over', stream('parks'), 0.5)
          ? stream('parked').pick(file.backends).name
          : undefined,
        areTablesLost: !wasDrained && faults.strikesAtRest('metadata lost', stream('lost'), 0.5),
        recoversSingly: faults.strikesAtRest('recovered one by one', stream('singly'), 0.5),
        areMarksBare: faults.strikesAtRest('marks without hashes', stream('bare'), 0.8),
        dies: () => faults.strikesAtRest('recovery killed', deaths, 0.4),
        rots: () => faults.strikesAtRest('copies rotted meanwhile', rot, 0.2),
      });
    }
  } catch (error) {
    const { name, message, stack } = error as Error;
    const { invariant, key } = error instanceof Violation ? error : { invariant: `simulator: ${name}`, key: undefined };
    violation = { invariant, message: error instanceof Violation ? message : String(stack), key };
  }
  return {
    seed,
    violation,
    backends: plan.file.backends.length,
    objects: plan.keys.length,
    steps: world.step,
    simulatedMs: world.now - startAt,
    faults: faults.counts,
    orphans,
    lines,
  };
}
