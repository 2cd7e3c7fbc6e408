import type { WorkerName } from '../../lib/config/parameters.ts';
import { presentWorkers, type RunningTick } from './actors.ts';
import type { CalmDeps } from './deps.ts';
import { workingPart } from './fleet.ts';
import { createNeeds } from './needs.ts';
import type { Orphan } from './oracle/bytes.ts';
import { keyWithin } from './oracle/reading.ts';
import { Violation } from './oracle/violation.ts';
import { createWaitingCheck } from './oracle/waiting.ts';
import { createOvertaken } from './overtaken.ts';
import type { Random } from './random.ts';
import { createRest } from './rest.ts';
import { type SceneName, scenes } from './scenes/scenes.ts';
import { createStage } from './scenes/stage.ts';

export interface Calm {
  /** The fleet is applied and filled. */
  begin(): Promise<void>;
  /** Faults stop: the fleet converges, everything can be read, and idle ticks cost nothing. Returns the number of orphans. */
  end(): Promise<number>;
}

export interface CalmOptions extends CalmDeps {
  /** What is played in the end, each with a stream of its own. */
  readonly scenes: readonly { readonly name: SceneName; readonly random: Random }[];
}

const minute = 60_000;
const hour = 60 * minute;

/** Workers whose idle ticks cost next to nothing, and the time that matters to them. */
const quick: readonly WorkerName[] = ['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'];

interface Round {
  /** How much time passes before. */
  readonly ms: number;
  readonly workers: readonly WorkerName[];
}

const quickRound = (ms: number): Round => ({ ms, workers: quick });
const wholeRound = (ms: number): Round => ({ ms, workers: presentWorkers });

/**
 * The waits in which a fleet must have mended itself, as `docs/reliability.md` derives them: breakers are open for up to 6¼ min,
 * claims and graces last 5 min, and three of those outlive the lease of a tick that died; an hour is given to bytes that may
 * still arrive, twice where one leads to another; a day to a scrub cycle, to each of two sweeps and to the longest
 * backoff; a week to what was quarantined. After each wait a worker has the ticks that `ticksToComeRound` allows it.
 */
const rounds: readonly Round[] = [
  ...[0, 7, 7, 7].map((n) => quickRound(n * minute)),
  ...[1.2, 1.2].map((n) => quickRound(n * hour)),
  ...[25, 25, 175, 25, 25].flatMap((n) => [wholeRound(n * hour), ...[7, 7, 7].map((m) => quickRound(m * minute))]),
];

/** The time before and after the faults. */
export function createCalm(deps: CalmOptions): Calm {
  const { world, faults, refusals, plan, oracle, actors, surroundings, externalClients, random, step } = deps;

  /** Until every process has ended or waits for nothing. */
  async function settle(): Promise<void> {
    const isBusy = () =>
      actors.ticks.size > 0 ||
      [...actors.clients].some(({ busy }) => busy.size > 0) ||
      world.actors.some((actor) => actor.role === 'operator');
    for (let turns = 0; ; turns += 1) {
      if (turns > 20_000) throw new Violation('6 convergence', `Processes do not come to an end: ${endless()}`);
      if (await step()) continue;
      if (!isBusy()) return;
      if (!world.jump()) throw new Violation('6 convergence', `Processes wait for nothing: ${endless()}`);
    }
  }

  function endless(): string {
    return world.actors.map((actor) => `${actor.name} (${world.pendingOf(actor)} operations)`).join(', ');
  }

  async function begin(): Promise<void> {
    externalClients.settleIn();
    actors.apply(plan.file);
    await settle();
    const client = actors.startClient();
    // Some keys begin without content.
    for (const key of plan.keys.filter(() => random.chance(0.85))) {
      actors.put(client, key);
      if (random.chance(0.3)) await settle();
    }
    await settle();
    if (plan.imported.length > 0 && random.chance(0.8)) {
      await idle(2 * hour);
      await tick('reconciler');
    }
    if (random.chance(0.7)) await tick('replicator');
  }

  /** In some histories a quick tick takes no more than this many rounds; 0: as many as it needs. */
  const quickRounds = random.chance(0.15) ? 2 : 0;
  const waiting = createWaitingCheck();
  const needs = createNeeds(deps);
  const overtaken = createOvertaken({ ...deps, settle }, deps.overtakenRandom);
  const rest = createRest({ ...deps, needs, quick, settle, idle, tick });

  /** Ticks of a worker until nothing that it could settle is due: as many as it takes to come round, and no more. */
  async function attend(worker: WorkerName): Promise<RunningTick> {
    for (let inVain = 0; ; ) {
      const before = needs.workOf(worker, quickRounds);
      const running = await tick(worker, quick.includes(worker) ? quickRounds : 0);
      // Somebody who died has the lease, or time has come for another turn.
      if (running.report!.outcome === 'busy') return running;
      const after = needs.workOf(worker, quickRounds);
      // A target that failed, by what a fault left behind, gets nothing more in its tick.
      if (running.report!.failed > 0 && inVain < 3) inVain += 1;
      else waiting.ticked(before, after);
      if (after.due.size === 0) return running;
    }
  }

  async function tick(worker: WorkerName, rounds = 0): Promise<RunningTick> {
    const part = worker === 'reconciler' ? {} : workingPart;
    const running = actors.startTick(
      worker,
      { ...part, rounds, scheduledTime: new Date(world.now).toISOString() },
      900_000,
    );
    await settle();
    return running;
  }

  async function end(): Promise<number> {
    faults.stop();
    // One tick of these does what a day of them would.
    surroundings.set({ overrides: { SCRUBBER_BATCH_SIZE: '1000', RECONCILER_BATCH_SIZE: '1000' } });
    world.thawAll();
    world.settleDetached();
    await settle();
    for (const client of [...actors.clients]) actors.close(client);
    liftLimits();
    await settle();
    const unexplained = oracle.orphans().find(({ isExplained }) => !isExplained);
    if (unexplained !== undefined) {
      const { backend, storageKey } = unexplained;
      throw new Violation(
        '6 convergence',
        `Nothing names "${storageKey}" on ${backend}, although nothing went wrong`,
        keyIn(storageKey),
      );
    }
    // Indexes catch up.
    await idle(plan.maxLagMs);
    if (refusals.isAny()) await bearRefusals();
    refusals.lift();
    const unnamed = (await oracle.openUploads()).find(({ isExplained }) => !isExplained);
    if (unnamed !== undefined)
      throw new Violation(
        '6 convergence',
        `Nothing names the upload of ${unnamed.place}, although nothing went wrong`,
        keyIn(unnamed.place),
      );
    let left: string[] = [];
    // The first run of the reconciler may only finish the pass that an earlier one began.
    let sweeps = 0;
    for (const { ms, workers } of rounds) {
      await idle(ms);
      for (const worker of random.shuffled(workers)) {
        const leavesSome = worker === 'reconciler' && hasOrphansOfDamaged();
        const wereForPeople = orphansForPeople();
        const { report } = await attend(worker);
        if (worker !== 'reconciler') continue;
        const areSettledSince = !wereForPeople.isDisjointFrom(orphansToTake());
        if (!leavesSome && !areSettledSince) sweeps += 1;
        if (report!.figures.passComplete !== 1)
          throw new Violation('6 convergence', 'Nothing goes wrong any more, and yet a sweep does not come to its end');
      }
      left = needs.left();
      if (left.length === 0 && !world.hasDetached() && (sweeps > 1 || oracle.orphans().length === 0)) break;
    }
    if (left.length > 0)
      throw new Violation(
        '6 convergence',
        `After ${rounds.length} rounds: ${left.slice(0, 3).join('; ')}`,
        keyIn(left[0]!),
      );
    const violation = oracle.recount();
    if (violation !== null) throw violation;
    const [place] = oracle.versionsLeft();
    if (place !== undefined)
      throw new Violation('6 convergence', `Versions of ${place} are left, and nothing names them`, keyIn(place));
    const [upload] = await oracle.openUploads();
    if (upload !== undefined)
      throw new Violation('6 convergence', `An upload of ${upload.place} is left open`, keyIn(upload.place));
    await rest.readAll();
    await rest.checkIdleTicks();
    await rest.checkMemory();
    if (faults.isOn('backend lost') && random.chance(0.3)) await rest.checkLoss(random.pick(plan.file.backends).name);
    if (faults.isOn('bytes rotted') && random.chance(0.3)) await rest.checkReaders();
    if (faults.isOn('backend dropped') && random.chance(0.9)) await rest.checkOvertakenMove();
    const orphans = checkOrphans();
    if (faults.isOn('backend dropped') && faults.isOn('client frozen')) await overtaken.put();
    if (faults.isOn('encryption key removed') && faults.isOn('client frozen')) await overtaken.sealedPut();
    if (faults.isOn('ledger recounted')) await overtaken.count();
    if (faults.isOn('headers rewritten')) await overtaken.source();
    for (const { name, random } of deps.scenes) {
      world.trace(() => `scene: ${name}`);
      if (await scenes[name](createStage({ ...deps, needs, settle, idle }, random))) faults.count(name);
    }
    const overtakenBy = oracle.recount();
    if (overtakenBy !== null) throw overtakenBy;
    return orphans;
  }

  /** Whether a sweep will leave bytes where they are because their object was thought damaged: the one behind it takes them. */
  function hasOrphansOfDamaged(): boolean {
    return oracle.orphans().some(({ storageKey, isForPeople }) => {
      const entry = oracle.objects.get(keyWithin(storageKey) ?? storageKey);
      return !isForPeople && entry?.kind === 'object' && entry.condition === 'damaged';
    });
  }

  /** Bytes whose object does not stand, so that a sweep leaves them; if it settles the object beside, the next one takes them. */
  function orphansForPeople(): Set<string> {
    return places(({ isForPeople }) => isForPeople);
  }

  function orphansToTake(): Set<string> {
    return places(({ isForPeople }) => !isForPeople);
  }

  function places(wanted: (orphan: Orphan) => boolean): Set<string> {
    const found = oracle.orphans().filter(wanted);
    return new Set(found.map(({ backend, storageKey }) => `${backend}/${storageKey}`));
  }

  /** Nothing but what is refused waits: everything else comes to its copies as ever. */
  async function bearRefusals(): Promise<void> {
    // What was refused in passing is tried again within six hours; room that a deletion makes then is for the next tick.
    for (const ms of [0, 7, 7, 7, 72, 400, 7, 7].map((n) => n * minute)) {
      await idle(ms);
      for (const worker of random.shuffled(quick)) await attend(worker);
      if (needs.starved().length === 0) return;
    }
    throw new Violation('independence', needs.starved().slice(0, 3).join('; '), keyIn(needs.starved()[0]!));
  }

  /** What a month allows holds copies back until the next one: an operator allows more, and brings back what left the file. */
  function liftLimits(): void {
    const file = surroundings.fileInForce();
    const none = { requests: 0, classA: 0, classB: 0, egressBytes: 0, ingressBytes: 0, usd: 0 };
    const lifts = faults.isOn('tight usage limit');
    const backends = plan.file.backends.map((planned) => {
      const backend = file.backends.find(({ name }) => name === planned.name) ?? planned;
      const unhurried = plan.slowed === undefined ? backend : { ...backend, maxBytesPerSecond: 0 };
      return lifts ? { ...unhurried, limits: none, dailyLimits: none } : unhurried;
    });
    if (lifts || plan.slowed !== undefined || faults.isOn('backend dropped')) actors.apply({ ...file, backends });
  }

  async function idle(ms: number): Promise<void> {
    while (!world.pass(ms)) await settle();
    surroundings.store.expire();
    await settle();
  }

  function checkOrphans(): number {
    const orphans = oracle.orphans();
    for (const { backend, storageKey, isForPeople } of orphans) {
      if (!isForPeople)
        throw new Violation(
          '6 convergence',
          `Nothing names "${storageKey}" on ${backend} after a sweep`,
          keyIn(storageKey),
        );
    }
    return orphans.length;
  }

  function keyIn(text: string): string | undefined {
    return [...plan.externalKeys, ...plan.keys].find((key) => text.includes(key));
  }

  return { begin, end };
}
