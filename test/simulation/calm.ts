import type { WorkerName } from '../../lib/config/parameters.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../lib/store/model.ts';
import { type Actors, presentWorkers, type RunningTick } from './actors.ts';
import type { Faults } from './faults.ts';
import { type Plan, workingPart } from './fleet.ts';
import type { Oracle } from './oracle/oracle.ts';
import { factorOf } from './oracle/reading.ts';
import { Violation } from './oracle/violation.ts';
import { createWaitingCheck, type Work } from './oracle/waiting.ts';
import type { Random } from './random.ts';
import type { Strangers } from './strangers.ts';
import type { Surroundings } from './surroundings.ts';
import type { World } from './world.ts';

export interface CalmDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly plan: Plan;
  readonly oracle: Oracle;
  readonly actors: Actors;
  readonly surroundings: Surroundings;
  readonly strangers: Strangers;
  readonly random: Random;
  readonly step: () => Promise<boolean>;
}

export interface Calm {
  /** The fleet is applied and filled. */
  begin(): Promise<void>;
  /** Faults stop: the fleet converges, everything can be read, and idle ticks cost nothing. Returns the number of strays. */
  end(): Promise<number>;
}

/** Two clocks may be this far apart. */
const skewMs = 10_000;
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
 * still arrive, twice where one leads to another; a day to a lap of the scrubber, to each of two sweeps and to the longest
 * backoff; a week to what was dismissed. After each wait a worker has the ticks that `ticksToComeRound` allows it.
 */
const rounds: readonly Round[] = [
  ...[0, 7, 7, 7].map((n) => quickRound(n * minute)),
  ...[1.2, 1.2].map((n) => quickRound(n * hour)),
  ...[25, 25, 175, 25, 25].flatMap((n) => [wholeRound(n * hour), ...[7, 7, 7].map((m) => quickRound(m * minute))]),
];

/** The time before and after the faults. */
export function createCalm(deps: CalmDeps): Calm {
  const { world, faults, plan, oracle, actors, surroundings, strangers, random, step } = deps;

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
    strangers.settleIn();
    actors.apply(plan.file);
    await settle();
    const client = actors.startClient();
    // Some keys begin without content.
    for (const key of plan.keys.filter(() => random.chance(0.85))) {
      actors.put(client, key);
      if (random.chance(0.3)) await settle();
    }
    await settle();
    if (plan.adopted.length > 0 && random.chance(0.8)) {
      await idle(2 * hour);
      await tick('reconciler');
    }
    if (random.chance(0.7)) await tick('replicator');
  }

  /** In some histories a quick tick takes no more than this many rounds; 0: as many as it needs. */
  const quickRounds = random.chance(0.15) ? 2 : 0;
  const waiting = createWaitingCheck();

  /** Ticks of a worker until nothing that it could settle is due: as many as it takes to come round, and no more. */
  async function attend(worker: WorkerName): Promise<RunningTick> {
    for (let inVain = 0; ; ) {
      const before = workOf(worker);
      const running = await tick(worker, quick.includes(worker) ? quickRounds : 0);
      // Somebody who died has the lease, or time has come for another turn.
      if (running.report!.outcome === 'busy') return running;
      const after = workOf(worker);
      // R4: a target that failed, by what a fault left behind, gets nothing more in its tick.
      if (running.report!.failed > 0 && inVain < 3) inVain += 1;
      else waiting.ticked(before, after);
      if (after.due.size === 0) return running;
    }
  }

  /** What a worker could settle now. Queues of a backend whose breaker is open are parked. */
  function workOf(worker: WorkerName): Work {
    const param = (name: string, otherwise: number) => Number(plan.env[name] ?? otherwise);
    const dark = new Set(surroundings.unhealthyBackends());
    const state = ({ 'cleanup-queue': 'cleanup', 'pending-reaper': 'intent', replicator: 'transfer' } as const)[
      worker as string
    ];
    const queued = [...oracle.queue.values()].filter((item) => item.state === state);
    const due = new Map<string, Entry | QueueItem>();
    for (const item of queued)
      if (item.dueAt <= world.now - skewMs && !dark.has(item.backend) && !isHidden(oracle.objects.get(item.key)))
        due.set(item.id, item);
    const prefix = worker.replaceAll('-', '_').toUpperCase();
    const objects = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
    if (dark.size === 0) for (const entry of objects) if (isWorkFor(worker, entry)) due.set(entry.key, entry);
    const crowd = queued.length + objects.length;
    return { worker, due, crowd, batchSize: param(`${prefix}_BATCH_SIZE`, 50), rounds: quickRounds };
  }

  /** Whether a worker has what it needs to give an object copies, or to take some away. */
  function isWorkFor(worker: WorkerName, entry: ObjectRecord): boolean {
    const lacking = lackingCopies(entry);
    const isMoving = [...oracle.queue.values()].some(({ state, key }) => state === 'transfer' && key === entry.key);
    const isKnown = surroundings.fileInForce().policies[entry.policy] !== undefined;
    if (entry.isDamaged || entry.sha256 === undefined || !isWhole(entry) || isHidden(entry) || !isKnown || isMoving)
      return false;
    if (worker === 'replicator') return lacking > 0;
    const isPlain = Object.values(entry.copies).includes('');
    return worker === 'over-replication-cleaner' && lacking < 0 && !isPlain && surroundings.drains().size === 0;
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
    const unexplained = oracle.strays().find(({ isExplained }) => !isExplained);
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
        const { report } = await attend(worker);
        if (worker !== 'reconciler') continue;
        sweeps += 1;
        if (report!.figures.passComplete !== 1)
          throw new Violation('6 convergence', 'Nothing goes wrong any more, and yet a sweep does not come to its end');
      }
      left = leftToDo();
      if (left.length === 0 && !world.hasDetached() && (sweeps > 1 || oracle.strays().length === 0)) break;
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
    await readAll();
    await checkIdleTicks();
    if (faults.isOn('backend lost') && random.chance(0.3)) await checkLoss(random.pick(plan.file.backends).name);
    return checkStrays();
  }

  /** What a month allows holds copies back until the next one: an operator allows more. */
  function liftLimits(): void {
    const file = surroundings.fileInForce();
    const none = { requests: 0, egressBytes: 0, ingressBytes: 0 };
    if (faults.isOn('tight usage limit'))
      actors.apply({ ...file, backends: file.backends.map((backend) => ({ ...backend, limits: none })) });
  }

  async function idle(ms: number): Promise<void> {
    while (!world.pass(ms)) await settle();
    surroundings.store.expire();
    await settle();
  }

  /** Invariant 6, in sentences. */
  function leftToDo(): string[] {
    const left: string[] = [];
    for (const { id, key, state, attempts, reason, lastError } of oracle.queue.values()) {
      // Given up after ten refused attempts: an operator's business.
      if (state === 'dead' && attempts >= 10) continue;
      // A source under a delete marker is neither there nor lost: a person's business too.
      if (state === 'transfer' && isHidden(oracle.objects.get(key))) continue;
      // Its owner overwrote a file, and it was gone before it could be copied: what it replaced is all that remains.
      if (reason === 'overwritten' && isWaitedFor(oracle.objects.get(key))) continue;
      left.push(`${id} is still queued (${state}, ${attempts} attempts, ${lastError ?? 'no error'})`);
    }
    for (const entry of oracle.objects.values()) {
      if (entry.kind !== 'object') continue;
      const good = oracle.goodCopies(entry);
      const recorded = Object.keys(entry.copies);
      if (good.length === 0 || isHidden(entry)) continue;
      if (entry.isDamaged) left.push(`"${entry.key}" is marked as damaged, although it verifies on ${good.join(', ')}`);
      if (good.length < recorded.length) left.push(`"${entry.key}" is recorded where its bytes are not good`);
      const lacking = lackingCopies(entry);
      if (lacking > 0) left.push(`"${entry.key}" lacks ${lacking} copies`);
      if (lacking < 0) left.push(`"${entry.key}" has ${-lacking} copies too many`);
    }
    if (plan.adopted.length > 0) left.push(...oracle.unsettledFiles());
    for (const name of surroundings.unhealthyBackends()) left.push(`The breaker of ${name} is open`);
    return left;
  }

  function isHidden(entry: Entry | undefined): boolean {
    return entry?.kind === 'object' && oracle.hiddenCopies(entry).length > 0;
  }

  function isWaitedFor(entry: Entry | undefined): boolean {
    return entry?.kind === 'object' && (entry.isDamaged || !isAtFactor(entry));
  }

  /**
   * Copies that are missing and could be made (a full backend takes none), less those that are too many. Copies on a
   * draining backend do not count, and leave once they are replaced.
   */
  function lackingCopies(entry: ObjectRecord, lost?: string): number {
    const file = surroundings.fileInForce();
    const draining = new Set([...surroundings.drains().keys(), lost]);
    const copies = Object.keys(entry.copies);
    const counted = copies.filter((name) => !draining.has(name));
    const able = file.backends.filter(
      ({ name, quotaBytes, maxObjectBytes }) =>
        entry.copies[name] === undefined &&
        !draining.has(name) &&
        (maxObjectBytes === 0 || maxObjectBytes >= entry.sizeBytes) &&
        (quotaBytes === 0 || oracle.usedBytes(name) + entry.sizeBytes <= quotaBytes),
    );
    const factor = factorOf(file, entry.key);
    if (counted.length < factor) return Math.min(factor - counted.length, able.length);
    // A file that we did not write stays where it is, unless its backend drains.
    const surplus = copies.filter((name) => entry.copies[name] !== '' || draining.has(name));
    return -Math.min(copies.length - factor, surplus.length);
  }

  /** Every object with a good copy can be read, every deleted one is gone, and a listing shows just what is there. */
  async function readAll(): Promise<void> {
    const before = actors.failures.length;
    const client = actors.startClient();
    for (const key of new Set([...plan.keys, ...oracle.objects.keys()])) if (isReadable(key)) actors.get(client, key);
    await settle();
    const failure = actors.failures[before];
    if (failure !== undefined)
      throw new Violation('5 what callers were told', `Nothing goes wrong any more, and yet: ${failure}`);
    actors.close(client);
    await settle();
  }

  function isReadable(key: string): boolean {
    const entry = oracle.objects.get(key);
    return entry?.kind !== 'object' || oracle.goodCopies(entry).length > 0;
  }

  /** Invariant 7. */
  async function checkIdleTicks(): Promise<void> {
    for (const worker of quick) await tick(worker);
    const isRested =
      [...oracle.objects.values()].every((e) => e.kind !== 'object' || (isAtFactor(e) && isWhole(e) && !isHidden(e))) &&
      oracle.queue.size === 0;
    if (!isRested) return;
    for (const worker of quick) {
      const { calls } = (await tick(worker)).actor;
      const heads = worker === 'replicator' ? plan.file.backends.map(({ name }) => `${name} HEAD`) : [];
      for (const name of ['read', ...heads]) {
        if (calls.get(name) !== 1)
          throw new Violation('7 idle ticks', `An idle ${worker} made ${calls.get(name) ?? 0} × ${name}`);
        calls.delete(name);
      }
      if (calls.size > 0) throw new Violation('7 idle ticks', `An idle ${worker} made ${[...calls].join(' and ')}`);
    }
  }

  /**
   * R1: a backend that stays dark counts no more, and what it held is copied elsewhere. A tick a minute notices within five;
   * ten minutes later its copies do not count; probes, one in each of the ticks that follow, change nothing about that.
   */
  async function checkLoss(name: string): Promise<void> {
    // C1: a copy that cannot be reached is no reason to take one off a backend that drains.
    const other = plan.file.backends.find((backend) => backend.name !== name)!.name;
    const drains = surroundings.drains().size === 0 && random.chance(0.5);
    if (drains) {
      faults.count('backend drained');
      actors.drain(other);
    }
    await settle();
    faults.lose(name);
    for (const ms of [1, 1, 1, 1, 1, 6.5, 6.5, 6.5].map((n) => n * minute)) {
      await idle(ms);
      await tick('replicator');
      if (drains) await tick('over-replication-cleaner');
    }
    for (const entry of oracle.objects.values()) {
      if (entry.kind !== 'object' || entry.isDamaged || isHidden(entry)) continue;
      if (oracle.goodCopies(entry).every((good) => good === name)) continue;
      const lacking = lackingCopies(entry, name);
      if (lacking > 0)
        throw new Violation(
          '6 convergence',
          `"${entry.key}" lacks ${lacking} copies although ${name} is lost`,
          entry.key,
        );
    }
    faults.lose(null);
  }

  function isWhole(entry: ObjectRecord): boolean {
    return oracle.goodCopies(entry).length === Object.keys(entry.copies).length;
  }

  function isAtFactor(entry: ObjectRecord): boolean {
    const draining = surroundings.drains();
    const counted = Object.keys(entry.copies).filter((name) => !draining.has(name));
    return entry.isDamaged || counted.length >= factorOf(surroundings.fileInForce(), entry.key);
  }

  function checkStrays(): number {
    const strays = oracle.strays();
    for (const { backend, storageKey, isForPeople } of strays) {
      if (!isForPeople)
        throw new Violation(
          '6 convergence',
          `Nothing names "${storageKey}" on ${backend} after a sweep`,
          keyIn(storageKey),
        );
    }
    return strays.length;
  }

  function keyIn(text: string): string | undefined {
    return [...plan.strangerKeys, ...plan.keys].find((key) => text.includes(key));
  }

  return { begin, end };
}
