import type { WorkerName } from '../../lib/config/parameters.ts';
import type { Entry } from '../../lib/store/model.ts';
import type { RunningTick } from './actors.ts';
import type { CalmDeps } from './deps.ts';
import { workingPart } from './fleet.ts';
import type { Needs } from './needs.ts';
import { storageKeyOf } from './oracle/reading.ts';
import { Violation } from './oracle/violation.ts';
import { flipped } from './sim-backend.ts';

export interface RestDeps extends CalmDeps {
  readonly needs: Needs;
  /** Workers whose idle ticks cost next to nothing. */
  readonly quick: readonly WorkerName[];
  settle(): Promise<void>;
  idle(ms: number): Promise<void>;
  tick(worker: WorkerName): Promise<RunningTick>;
}

/** What a fleet at rest must show when something is asked of it. Each throws the violation that it finds. */
export interface Rest {
  readAll(): Promise<void>;
  checkIdleTicks(): Promise<void>;
  checkLoss(name: string): Promise<void>;
  checkMemory(): Promise<void>;
  checkReaders(): Promise<void>;
  checkOvertakenMove(): Promise<void>;
}

const minute = 60_000;
const day = 24 * 60 * minute;

export function createRest(deps: RestDeps): Rest {
  const { world, faults, plan, oracle, actors, surroundings, random, step } = deps;
  const { needs, quick, settle, idle, tick } = deps;

  /**
   * Every object with a good copy can be read, and every deleted one is gone. Bytes of a big object are given before their end was
   * seen: a copy that rotted since it was read last fails one `get`, and the next one reads another. Each wrong copy may do so once.
   */
  async function readAll(): Promise<void> {
    const before = actors.failures.length;
    const client = actors.startClient();
    for (const key of new Set([...plan.keys, ...oracle.objects.keys()]))
      if (needs.isReadable(key)) actors.get(client, key, wrongCopies(oracle.objects.get(key)));
    await settle();
    const failure = actors.failures[before];
    if (failure !== undefined)
      throw new Violation('5 what callers were told', `Nothing goes wrong any more, and yet: ${failure}`);
    actors.close(client);
    await settle();
  }

  function wrongCopies(entry: Entry | undefined): number {
    return entry?.kind === 'object' ? Object.keys(entry.copies).length - oracle.goodCopies(entry).length : 0;
  }

  /** Invariant 7. */
  async function checkIdleTicks(): Promise<void> {
    for (const worker of quick) await tick(worker);
    const isRested =
      [...oracle.objects.values()].every(
        (e) =>
          e.kind !== 'object' || (needs.isAtFactor(e) && needs.isSpread(e) && needs.isWhole(e) && !needs.isHidden(e)),
      ) && oracle.queue.size === 0;
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
   * A backend that stays unreachable counts no more, and what it held is copied elsewhere. A tick a minute notices within five;
   * ten minutes later its copies do not count; probes, one in each of the ticks that follow, change nothing about that.
   */
  async function checkLoss(name: string): Promise<void> {
    // A copy that cannot be reached is no reason to take one off a backend that drains.
    const other = plan.file.backends.find((backend) => backend.name !== name)!.name;
    const drains = surroundings.drains().size === 0 && random.chance(0.5);
    if (drains) {
      faults.count('backend drained');
      actors.drain(other, true);
    }
    await settle();
    faults.lose(name);
    for (const ms of [1, 1, 1, 1, 1, 6.5, 6.5, 6.5].map((n) => n * minute)) {
      await idle(ms);
      await tick('replicator');
      if (drains) await tick('over-replication-cleaner');
    }
    for (const entry of oracle.objects.values()) {
      if (entry.kind !== 'object' || entry.condition === 'damaged' || needs.isHidden(entry)) continue;
      if (oracle.goodCopies(entry).every((good) => good === name)) continue;
      const lacking = needs.lackingCopies(entry, name);
      if (lacking > 0)
        throw new Violation(
          '6 convergence',
          `"${entry.key}" lacks ${lacking} copies although ${name} is lost`,
          entry.key,
        );
    }
    faults.lose(null);
  }

  /** A file that a delete left behind is remembered for good: a week later, when other tombstones expire, it is no new object. */
  async function checkMemory(): Promise<void> {
    if (!oracle.hasForsakenFiles()) return;
    await idle(8 * day);
    await tick('reconciler');
  }

  /** A copy rots that readers come to first: whoever can begin again is given another (the reads themselves are watched). */
  async function checkReaders(): Promise<void> {
    const all = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
    const entry = all.find(
      (one) => one.condition === 'sound' && oracle.goodCopies(one).length > 1 && one.sizeBytes > 50,
    );
    if (entry === undefined) return;
    const [backend] = oracle.goodCopies(entry).filter((name) => entry.copies[name] !== '');
    if (backend === undefined) return;
    const storageKey = storageKeyOf(entry.key, entry.copies[backend]!);
    const bucket = surroundings.backends.get(backend)!;
    const existing = bucket.peek(storageKey)!;
    faults.count('bytes rotted');
    oracle.bytesHarmed(backend, storageKey);
    bucket.putNow(storageKey, flipped(existing.bytes, random, 'rest'), existing);
    for (let readers = 0; readers < 4; readers += 1) {
      const client = actors.startClient();
      actors.get(client, entry.key);
      await settle();
      actors.close(client);
      await settle();
    }
  }

  /** Copies that could go from one backend to another: of objects that have all theirs. */
  function movable(from: string, to: string): number {
    const all = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
    return all.filter(({ copies }) => copies[from] !== undefined && copies[from] !== '' && copies[to] === undefined)
      .length;
  }

  /**
   * A rebalancer has written a copy, and asks how the fleet stands before it records the move; then it sleeps, and the destination
   * leaves the file. No object may be moved out of it.
   */
  async function checkOvertakenMove(): Promise<void> {
    const file = surroundings.fileInForce();
    const names = file.backends.map(({ name }) => name);
    const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));
    const [from, to] = pairs.toSorted((a, b) => movable(...b) - movable(...a))[0]!;
    if (movable(from, to) === 0 || surroundings.drains().size > 0) return;
    const full = Math.ceil(oracle.usedBytes(from) * 1.1) + 1;
    const quotaOf = (name: string) => (name === from ? full : name === to ? 10_000_000 : 0);
    surroundings.set({ overrides: { REBALANCER_STRATEGY: 'spread' } });
    actors.apply({ ...file, backends: file.backends.map((one) => ({ ...one, quotaBytes: quotaOf(one.name) })) });
    await settle();
    const { actor } = actors.startTick('rebalancer', workingPart, 900_000);
    // Before it asks how the fleet stands, or while it does.
    const sleepsEarly = random.chance(0.5);
    let hasAged = false;
    while (actor.state === 'running') {
      const isWritten = actor.calls.has(`${to} PUT`);
      if (isWritten && (sleepsEarly ? world.isWriting(actor) : world.isReadingFleet(actor))) {
        faults.count('move overtaken');
        world.freeze(actor, 2 * minute);
        actors.apply({ ...file, backends: file.backends.filter(({ name }) => name !== to) });
        break;
      }
      // What it knows of the fleet is too old to go by.
      if (isWritten && !hasAged) hasAged = world.pass(6_000);
      if (!(await step()) && !world.jump()) break;
    }
    await settle();
    // Everything is in the file again, as before.
    actors.apply(file);
    await settle();
  }

  return { readAll, checkIdleTicks, checkLoss, checkMemory, checkReaders, checkOvertakenMove };
}
