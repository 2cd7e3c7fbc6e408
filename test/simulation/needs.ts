import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../lib/store/model.ts';
import type { Plan } from './fleet.ts';
import type { Oracle } from './oracle/oracle.ts';
import { factorOf, isAllowed, isKeptApart, placesOf, storageKeyOf } from './oracle/reading.ts';
import type { Work } from './oracle/waiting.ts';
import type { Refusals } from './refusals.ts';
import type { Surroundings } from './surroundings.ts';
import type { World } from './world.ts';

export interface NeedsDeps {
  readonly world: World;
  readonly plan: Plan;
  readonly oracle: Oracle;
  readonly refusals: Refusals;
  readonly surroundings: Surroundings;
}

/** What a fleet still needs done, by the fleet file in force and what is recorded, queued and there. */
export interface Needs {
  /** What a worker could settle now in a tick of so many rounds. */
  workOf(worker: WorkerName, rounds: number): Work;
  /** Invariant 6, in sentences. */
  left(): string[];
  /** The same, while some of it is refused: what lacks copies that nobody refuses. */
  starved(): string[];
  lackingCopies(entry: ObjectRecord, lost?: string): number;
  /** Whether a copy of it stands under a delete marker. */
  isHidden(entry: Entry | undefined): boolean;
  /** Whether every recorded copy is good. */
  isWhole(entry: ObjectRecord): boolean;
  isAtFactor(entry: ObjectRecord): boolean;
  /** Whether its copies stand in as many places as there could be. */
  isSpread(entry: ObjectRecord): boolean;
  /** Whether a read of the key must succeed. */
  isReadable(key: string): boolean;
}

/** Two clocks may be this far apart. */
const skewMs = 10_000;

export function createNeeds({ world, plan, oracle, refusals, surroundings }: NeedsDeps): Needs {
  /** What a worker could settle now. Queues of a backend whose breaker is open are parked. */
  function workOf(worker: WorkerName, rounds: number): Work {
    const param = (name: string, otherwise: number) => Number(plan.env[name] ?? otherwise);
    const unreachable = new Set(surroundings.unhealthyBackends());
    const state = ({ 'cleanup-queue': 'cleanup', 'pending-reaper': 'intent', replicator: 'transfer' } as const)[
      worker as string
    ];
    const queued = [...oracle.queue.values()].filter((item) => item.state === state);
    const due = new Map<string, Entry | QueueItem>();
    for (const item of queued) {
      const isParked = unreachable.has(item.backend) || isLeftAlone(item) || isHidden(oracle.objects.get(item.key));
      if (item.dueAt <= world.now - skewMs && !isParked) due.set(item.id, item);
    }
    const prefix = worker.replaceAll('-', '_').toUpperCase();
    const objects = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
    const movesCopies = worker === 'replicator' || worker === 'over-replication-cleaner';
    if (movesCopies && unreachable.size === 0)
      for (const entry of objects) if (isWorkFor(worker, entry)) due.set(entry.key, entry);
    const crowd = queued.length + objects.length;
    const stuck = objects.filter(({ condition }) => condition === 'stuck').length;
    return { worker, due, crowd, stuck, batchSize: param(`${prefix}_BATCH_SIZE`, 50), rounds };
  }

  /** Whether a copy in parts waits for a target that takes no writes, and is not to be asked yet. */
  function isLeftAlone({ state, backend }: QueueItem): boolean {
    return state === 'transfer' && (surroundings.refusingBackends().get(backend) ?? 0) > world.now - skewMs;
  }

  /** Whether a worker has what it needs to give an object copies, or to take some away. */
  function isWorkFor(worker: WorkerName, entry: ObjectRecord): boolean {
    const lacking = lackingCopies(entry);
    if (lacking === 0) return false;
    const isMoving = () =>
      [...oracle.queue.values()].some(({ state, key }) => state === 'transfer' && key === entry.key);
    const isKnown = surroundings.fileInForce().policies[entry.policy] !== undefined;
    if (
      entry.condition === 'damaged' ||
      entry.sha256 === undefined ||
      !isWhole(entry) ||
      isHidden(entry) ||
      Object.keys(entry.copies).some((name) => refusals.hidesCopy(name, entry.key)) ||
      !isKnown ||
      isBackingOff(entry) ||
      isMoving()
    )
      return false;
    if (worker === 'replicator') return lacking > 0;
    const isPlain = Object.values(entry.copies).includes('');
    const isCleaned = worker === 'over-replication-cleaner' && lacking < 0 && !isPlain;
    return isCleaned && surroundings.drains().size === 0 && !isReadingLetRest(entry);
  }

  /** Whether one of its copies could not be read lately: it is let rest, and the others are not read without it. */
  function isReadingLetRest({ key, copies }: ObjectRecord): boolean {
    return Object.entries(copies).some(
      ([name, copyId]) => surroundings.readsRestUntil(name, storageKeyOf(key, copyId)) > world.now - skewMs,
    );
  }

  /** In the place of a file that was imported stands one with a mark: a copy that somebody made, which is only reported. */
  function isForPeople({ key, copies }: ObjectRecord, name: string): boolean {
    return copies[name] === '' && surroundings.backends.get(name)?.peek(key)?.metadata.holdfast !== undefined;
  }

  /** Whether a backend that refused it is not to be asked again yet. */
  function isBackingOff({ stuck = {} }: ObjectRecord): boolean {
    return Object.values(stuck).some(({ nextTryAt }) => nextTryAt > world.now - skewMs);
  }

  /** Invariant 6, in sentences. */
  function left(): string[] {
    const found: string[] = [];
    for (const { id, key, state, attempts, reason, lastError } of oracle.queue.values()) {
      // Given up after ten refused attempts: an operator's business.
      if (state === 'dead' && attempts >= 10) continue;
      // A source under a delete marker is neither there nor lost: a person's business too.
      if (state === 'transfer' && isHidden(oracle.objects.get(key))) continue;
      // Its owner overwrote a file, and it was gone before it could be copied: what it replaced is all that remains.
      if (reason === 'overwritten' && isWaitedFor(oracle.objects.get(key))) continue;
      found.push(`${id} is still queued (${state}, ${attempts} attempts, ${lastError ?? 'no error'})`);
    }
    for (const entry of oracle.objects.values()) {
      if (entry.kind !== 'object') continue;
      const good = oracle.goodCopies(entry).filter((name) => !isForPeople(entry, name));
      const recorded = Object.keys(entry.copies);
      const marked = Object.keys(entry.copies).find((name) => entry.sha256 === undefined && isForPeople(entry, name));
      if (marked !== undefined) found.push(`The file "${entry.key}" on ${marked} has a mark, and is still recorded`);
      if (good.length === 0 || isHidden(entry)) continue;
      if (entry.condition === 'damaged')
        found.push(`"${entry.key}" is marked as damaged, although it verifies on ${good.join(', ')}`);
      if (!recorded.every((name) => good.includes(name) || isForPeople(entry, name)))
        found.push(`"${entry.key}" is recorded where its bytes are not good`);
      const lacking = lackingCopies(entry);
      if (lacking > 0) found.push(`"${entry.key}" lacks ${lacking} copies`);
      if (lacking < 0) found.push(`"${entry.key}" has ${-lacking} copies too many`);
    }
    if (plan.imported.length > 0) found.push(...oracle.unsettledFiles());
    for (const name of surroundings.unhealthyBackends()) found.push(`The breaker of ${name} is open`);
    return found;
  }

  function starved(): string[] {
    const unhealthy = surroundings.unhealthyBackends();
    const moving = new Set(
      [...oracle.queue.values()].filter(({ state }) => state === 'transfer').map(({ key }) => key),
    );
    return [...oracle.objects.values()].flatMap((entry) => {
      if (entry.kind !== 'object' || entry.condition === 'damaged' || isHidden(entry) || moving.has(entry.key))
        return [];
      const sources = oracle
        .goodCopies(entry)
        .filter((name) => !refusals.hidesCopy(name, entry.key) && !isForPeople(entry, name));
      const lacking = lackingCopies(entry);
      if (sources.length === 0 || lacking <= 0 || unhealthy.length > 0) return [];
      return [`"${entry.key}" lacks ${lacking} copies that no backend refuses`];
    });
  }

  function isHidden(entry: Entry | undefined): boolean {
    return entry?.kind === 'object' && oracle.hiddenCopies(entry).length > 0;
  }

  function isWaitedFor(entry: Entry | undefined): boolean {
    return entry?.kind === 'object' && (entry.condition === 'damaged' || !isAtFactor(entry));
  }

  /**
   * Copies that are missing and could be made (a full backend takes none), less those that are too many. Copies on a
   * draining backend do not count, and leave once they are replaced.
   */
  function lackingCopies(entry: ObjectRecord, lost?: string): number {
    const file = surroundings.fileInForce();
    const drains = surroundings.drains();
    const factor = factorOf(file, entry.key);
    const allowed = (name: string) => name !== lost && !drains.has(name) && isAllowed(file, entry.key, name);
    const counted = Object.keys(entry.copies).filter(allowed);
    // Where every backend is a place of its own, as many as are asked for stand apart.
    if (counted.length >= factor && !isKeptApart(file, entry.key)) return -surplusOf(file, entry, counted, drains);
    const leftAlone = surroundings.refusingBackends();
    const able = file.backends.filter(
      ({ name, quotaBytes, maxObjectBytes }) =>
        entry.copies[name] === undefined &&
        allowed(name) &&
        !refusals.refusesCopy(name, entry.key) &&
        (leftAlone.get(name) ?? 0) <= world.now &&
        (maxObjectBytes === 0 || maxObjectBytes >= entry.sizeBytes) &&
        (quotaBytes === 0 || oracle.usedBytes(name) + entry.sizeBytes <= quotaBytes),
    );
    if (counted.length < factor) return Math.min(factor - counted.length, able.length);
    const held = placesOf(file, entry.key, counted);
    const could = placesOf(file, entry.key, [...counted, ...able.map(({ name }) => name)]);
    if (held < Math.min(factor, could)) return Math.min(factor, could) - held;
    return -surplusOf(file, entry, counted, drains);
  }

  /** How many copies could go, one after the other. */
  function surplusOf(
    file: FleetFile,
    entry: ObjectRecord,
    counted: readonly string[],
    draining: ReadonlyMap<string, number>,
  ): number {
    const factor = factorOf(file, entry.key);
    const places = (names: readonly string[]) => Math.min(factor, placesOf(file, entry.key, names));
    let left = Object.keys(entry.copies);
    if (left.length <= factor) return 0;
    let stays = counted;
    for (;;) {
      const next = left.find((name) => {
        const rest = stays.filter((one) => one !== name);
        // A file that we did not write stays where it is, unless its backend drains.
        if (entry.copies[name] === '' && !draining.has(name)) return false;
        return left.length > factor && rest.length >= factor && places(rest) >= places(stays);
      });
      if (next === undefined) return Object.keys(entry.copies).length - left.length;
      left = left.filter((name) => name !== next);
      stays = stays.filter((name) => name !== next);
    }
  }

  function isWhole(entry: ObjectRecord): boolean {
    return oracle.goodCopies(entry).length === Object.keys(entry.copies).length;
  }

  function isAtFactor(entry: ObjectRecord): boolean {
    const draining = surroundings.drains();
    const file = surroundings.fileInForce();
    const counted = Object.keys(entry.copies).filter((name) => !draining.has(name) && isAllowed(file, entry.key, name));
    return entry.condition === 'damaged' || counted.length >= factorOf(file, entry.key);
  }

  function isSpread({ key, copies }: ObjectRecord): boolean {
    const file = surroundings.fileInForce();
    const stays = (name: string) => !surroundings.drains().has(name) && isAllowed(file, key, name);
    const places = (names: readonly string[]) =>
      Math.min(factorOf(file, key), placesOf(file, key, names.filter(stays)));
    return places(Object.keys(copies)) >= places(file.backends.map(({ name }) => name));
  }

  function isReadable(key: string): boolean {
    const entry = oracle.objects.get(key);
    return entry?.kind !== 'object' || oracle.goodCopies(entry).some((name) => !isForPeople(entry, name));
  }

  return { workOf, left, starved, lackingCopies, isHidden, isWhole, isAtFactor, isSpread, isReadable };
}
