import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { createAccidents } from './accidents.ts';
import type { ClientProcess } from './actors.ts';
import { presentWorkers } from './actors.ts';
import type { ChaosDeps } from './deps.ts';
import { changedFile, spreadOtherwise, withoutBackend, workingPart } from './fleet.ts';
import type { Actor } from './operation.ts';
import type { Random } from './random.ts';
import { createRotations } from './rotations.ts';
import { createSleepingPuts } from './sleeping-puts.ts';

const mostTicks = 6;
const minuteMs = 60_000;

/** How often each worker is chosen: those that read everything, and those without a weight of their own, seldom. */
const workerWeights = {
  ...(Object.fromEntries(presentWorkers.map((name) => [name, 6])) as Record<WorkerName, number>),
  replicator: 30,
  'over-replication-cleaner': 12,
  rebalancer: 8,
  'cleanup-queue': 20,
  'pending-reaper': 20,
};

const eventWeights = {
  call: 40,
  tick: 30,
  pass: 12,
  week: 1,
  apply: 1,
  rotate: 4,
  recount: 1,
  recover: 4,
  drop: 3,
  move: 1,
  pause: 1,
  drain: 3,
  makeUnreachable: 4,
  storm: 2,
  deceive: 4,
  harm: 4,
  forge: 2,
  kill: 5,
  freeze: 4,
  restore: 1,
  sweep: 1,
  silence: 2,
  externalClient: 20,
};

/** Histories that dwell on one kind of trouble, so that what needs several coincidences is met. */
const moods: Readonly<
  Record<
    'any' | 'crowd' | 'doubt' | 'unreachable' | 'sweep',
    { events?: Partial<typeof eventWeights>; workers?: Partial<Record<WorkerName, number>> }
  >
> = {
  any: {},
  /** Many hands on a few objects. */
  crowd: { events: { call: 90, tick: 60, freeze: 10 }, workers: { 'pending-reaper': 40 } },
  /** Copies that seem missing or wrong, and a week in which they prove good. */
  doubt: {
    events: { deceive: 25, harm: 6, week: 6, tick: 60, freeze: 10 },
    workers: { scrubber: 25, 'cleanup-queue': 50, replicator: 6 },
  },
  /** Backends that become unreachable, surplus copies, and factors that change. */
  unreachable: {
    events: { makeUnreachable: 16, apply: 8, harm: 6, tick: 60 },
    workers: { 'over-replication-cleaner': 50 },
  },
  /** Sweeps over what others are about to record. */
  sweep: { events: { call: 80, sweep: 80 } },
};

/** What happens besides the operations on their way: applications, schedules, operators and accidents. */
export interface Chaos {
  event(): void;
  /**
   * Before each step, where a trap is set: a replicator about to commit is killed, and what it left is swept before its commit
   * arrives; a put that has named its bytes falls silent before it sends them, and the reaper comes first.
   */
  watch(): void;
}

export function createChaos(deps: ChaosDeps): Chaos {
  const { world, faults, plan, oracle, actors, surroundings, externalClients, bucketEvents, random, regrets } = deps;
  const accidents = createAccidents(deps);
  let isTrapSet = false;
  /** A put that is to fall silent, and the time when the reaper may take its intent, once it has. */
  let silenced: { readonly actor: Actor; readonly takenAt?: number } | undefined;
  const keys = plan.imported.length > 0 ? [...plan.keys, ...plan.externalKeys.slice(0, 4)] : plan.keys;
  const hotKeys = random.shuffled(keys).slice(0, 3);
  /** The backend that is out of the file. */
  let areSpreadOtherwise = false;
  let dropped: string | undefined;
  const rotations = createRotations({ ...deps, asItIsNow });
  const sleepingPuts = createSleepingPuts(deps, () => begin('pending-reaper'));

  const calls = {
    put: (process: ClientProcess, key: string) =>
      actors.put(process, key, {
        isStreamed: random.chance(0.3),
        ...(random.chance(0.2) && { timeoutMs: random.spread(200, 60_000) }),
      }),
    get: actors.get,
    delete: actors.remove,
    head: actors.head,
    list: (process: ClientProcess) => actors.list(process, random.pick(['', 'p/', 'doc/'])),
    close: (process: ClientProcess) => void process.holdfast.close().catch(() => {}),
  };
  const callWeights = { put: 45, get: 35, delete: 12, head: 3, list: 2, close: 1 };

  const events = {
    call: () => call(),
    tick: () => tick(),
    pass: () => void world.pass(random.spread(1_000, 4_500_000)),
    week: () => {
      world.pass(random.spread(86_400_000, 700_000_000));
      surroundings.store.expire();
    },
    apply: () => apply(),
    rotate: rotations.rotate,
    recount: () => recount(),
    recover: () => recover(),
    drop: () => drop(),
    move: () => move(),
    pause: () => pause(),
    drain: () => drain(),
    sweep: () => {
      if (actors.ticks.size >= mostTicks) return;
      begin('replicator');
      isTrapSet = true;
    },
    silence: () => silence(),
    externalClient() {
      externalClients.act();
      if (actors.ticks.size < mostTicks) bucketEvents.deliver();
    },
    ...accidents,
  };
  const mood =
    moods[random.weighted({ any: 3, crowd: 1, doubt: 1, unreachable: 1, sweep: faults.isOn('tick killed') ? 3 : 0 })];
  const weights = varied({ ...eventWeights, ...mood.events }, random);
  const imports = plan.imported.length > 0 ? { reconciler: 20 } : {};
  const ticksOf = varied({ ...workerWeights, ...mood.workers, ...imports }, random);

  function call(): void {
    const process = someClient();
    if (process.busy.size >= 3) return;
    // A few keys are hot: most trouble comes from two hands on one object.
    const key = random.pick(random.chance(0.5) ? hotKeys : keys);
    if (process.busy.has(key)) return;
    const regretted = faults.isOn('brought back') && regrets.chance(0.15) ? someRegret(key) : undefined;
    if (regretted === undefined) calls[random.weighted(callWeights)](process, key);
    else if (!process.busy.has(regretted)) actors.undelete(process, regretted);
  }

  /** Mostly something that waits for its deletion, which may be under way. */
  function someRegret(key: string): string {
    const waiting = [...oracle.queue.values()].filter(({ state }) => state === 'cleanup' || state === 'dead');
    return waiting.length > 0 && regrets.chance(0.8) ? regrets.pick(waiting).key : key;
  }

  function someClient(): ClientProcess {
    const running = [...actors.clients].filter(({ actor }) => actor.state === 'running');
    const isNew = running.length < 2 || (running.length < 3 && random.chance(0.1));
    return isNew ? actors.startClient() : random.pick(running);
  }

  function tick(): void {
    if (actors.ticks.size >= mostTicks) return;
    const worker = random.weighted(ticksOf);
    if (presentWorkers.includes(worker)) begin(worker);
  }

  function begin(worker: WorkerName): void {
    const age = faults.strikes('late event', 4) ? random.spread(1_000, 900_000) : 0;
    const part = worker === 'reconciler' ? {} : somePart();
    const event = { ...part, scheduledTime: new Date(world.now - age).toISOString() };
    const timeoutMs = random.pick([60_000, 300_000, 900_000]);
    actors.startTick(worker, event, timeoutMs);
    if (faults.strikes('duplicate event', 4)) actors.startTick(worker, event, timeoutMs);
  }

  /** Mostly one part that meets every key; sometimes the whole, or half, beside it. */
  function somePart(): { part?: number; of?: number } {
    if (!faults.strikes('overlapping parts', 2)) return workingPart;
    return random.pick([{}, { part: 3, of: 16 }, { part: 11, of: 16 }, { part: 3, of: 4 }]);
  }

  function apply(): void {
    if (!faults.isOn('fleet file applied')) return;
    faults.count('fleet file applied');
    const changed = changedFile(plan.file, random);
    if (!faults.isOn('copies spread') || !faults.isOn('spreading changed'))
      return void actors.apply(asItIsNow(changed));
    faults.count('spreading changed');
    areSpreadOtherwise = !areSpreadOtherwise;
    actors.apply(asItIsNow(areSpreadOtherwise ? spreadOtherwise(changed) : changed));
  }

  /** A fleet file with the keys and without the backend that operators have settled on. */
  function asItIsNow(file: FleetFile): FleetFile {
    return withoutBackend({ ...file, ...rotations.encryption() }, dropped ?? null);
  }

  function recount(): void {
    if (!faults.isOn('ledger recounted')) return;
    faults.count('ledger recounted');
    actors.recount();
  }

  /** Somebody who lost nothing recovers: no mark, however late its generation, changes what these tables know. */
  function recover(): void {
    if (!faults.isOn('recovered while alive') || actors.ticks.size >= mostTicks) return;
    faults.count('recovered while alive');
    if (random.chance(0.7)) accidents.forge();
    const backends = surroundings.fileInForce().backends.map(({ name }) => name);
    actors.startTick('reconciler', { reconcile: { kind: 'recover', backends } }, 900_000);
  }

  /** A backend leaves the file with all that it holds, may be given up for good, and comes back. */
  function drop(): void {
    if (!faults.isOn('backend dropped') || actors.areOperatorsBusy()) return;
    if (dropped === undefined) {
      faults.count('backend dropped');
      dropped = random.pick(plan.file.backends).name;
      actors.apply(asItIsNow(plan.file));
    } else if (faults.isOn('backend forgotten') && random.chance(0.2)) {
      faults.count('backend forgotten');
      actors.forget(dropped);
    } else if (random.chance(0.4)) {
      dropped = undefined;
      actors.apply(asItIsNow(plan.file));
    }
  }

  /** The name of a backend is given to another place: that must be refused. */
  function move(): void {
    if (!faults.isOn('backend moved')) return;
    faults.count('backend moved');
    const { name } = random.pick(asItIsNow(plan.file).backends);
    const moved = plan.file.backends.map((b) => (b.name === name ? { ...b, bucket: `${b.bucket}-2` } : b));
    actors.applyRefused(asItIsNow({ ...plan.file, backends: moved }));
  }

  function pause(): void {
    if (!faults.isOn('worker paused')) return;
    faults.count('worker paused');
    surroundings.set({ paused: random.shuffled(presentWorkers).slice(0, random.below(2)) });
  }

  /** One backend at a time, so that its objects have somewhere to go. */
  function drain(): void {
    if (!faults.isOn('backend drained')) return;
    const [draining] = surroundings.drains().keys();
    if (draining !== undefined) {
      if (random.chance(0.4)) actors.undrain(draining, surroundings.drains().get(draining)!);
      else actors.askDrain(draining);
      return;
    }
    if (actors.areOperatorsBusy()) return;
    faults.count('backend drained');
    actors.drain(random.pick(plan.file.backends).name, random.chance(0.5));
  }

  /** An object that few others write is to be overwritten. */
  function silence(): void {
    const written = plan.keys.filter((key) => oracle.objects.get(key)?.kind === 'object' && !hotKeys.includes(key));
    const process = someClient();
    if (!faults.isOn('client frozen') || written.length === 0 || process.busy.size > 0) return;
    const key = random.pick(written);
    if (sleepingPuts.begin(process, key)) return;
    actors.put(process, key);
    silenced = { actor: process.actor };
  }

  function watchSilence(): void {
    if (silenced === undefined) return;
    const { actor, takenAt } = silenced;
    if (takenAt === undefined) {
      if (actor.state !== 'running') silenced = undefined;
      if (actor.state !== 'running' || !world.isAboutToSend(actor)) return;
      faults.count('client frozen');
      world.freeze(actor, random.between(7 * minuteMs, 40 * minuteMs));
      silenced = { actor, takenAt: world.now + 5.5 * minuteMs };
    } else if (world.now < takenAt) {
      world.pass(takenAt - world.now);
    } else {
      begin('pending-reaper');
      silenced = undefined;
    }
  }

  return {
    watch() {
      watchSilence();
      sleepingPuts.watch();
      rotations.watch();
      if (!isTrapSet || !accidents.killCommitting()) return;
      isTrapSet = false;
      begin('reconciler');
    },
    event() {
      accidents.endOverdueTicks();
      events[random.weighted(weights)]();
    },
  };
}

/** Each history has its own mixture. */
function varied<T extends string>(weights: Readonly<Record<T, number>>, random: Random): Record<T, number> {
  const entries = Object.entries(weights) as [T, number][];
  return Object.fromEntries(entries.map(([name, weight]) => [name, weight * random.spread(20, 300)])) as Record<
    T,
    number
  >;
}
