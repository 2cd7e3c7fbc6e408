import type { CalmDeps } from './deps.ts';
import { rotatedFile, withoutBackend, withoutKey } from './fleet.ts';
import type { Actor } from './operation.ts';
import { factorOf, storageKeyOf } from './oracle/reading.ts';
import type { Random } from './random.ts';

export interface OvertakenDeps extends CalmDeps {
  settle(): Promise<void>;
}

/**
 * Processes that sleep at the worst moment, while a fleet in which nothing else goes wrong is changed under them. What they do when
 * they go on the oracle judges, as ever.
 */
export interface Overtaken {
  /** A put sleeps between its commit and its last look, and the backend that took it leaves the file. */
  put(): Promise<void>;
  /** A put sleeps with its sealed content, and the key leaves the file. */
  sealedPut(): Promise<void>;
  /** A count sleeps before it counts, and objects are put. */
  count(): Promise<void>;
  /** Most copies of an object are put again with other headers, and it is to have one more. */
  source(): Promise<void>;
}

const minute = 60_000;
const hour = 60 * minute;

export function createOvertaken(deps: OvertakenDeps, random: Random): Overtaken {
  const { world, faults, plan, oracle, actors, surroundings, step, settle } = deps;

  /** Until a process is at some point; false where it ends before. */
  async function untilAt(actor: Actor, isThere: () => boolean): Promise<boolean> {
    while (actor.state === 'running') {
      if (isThere()) return true;
      if (!(await step()) && !world.jump()) return false;
    }
    return false;
  }

  /** Until every process but those that sleep has ended. */
  async function settleOthers(): Promise<void> {
    const isAtWork = () => actors.areOperatorsBusy() || actors.ticks.size > 0;
    while (isAtWork()) if (!(await step())) world.jump();
  }

  async function idleBeside(ms: number): Promise<void> {
    while (!world.pass(ms)) await settleOthers();
    await settleOthers();
  }

  function backendWritten({ calls }: Actor): string | undefined {
    const names = surroundings.fileInForce().backends.map(({ name }) => name);
    return names.find((name) => calls.has(`${name} PUT`) || calls.has(`${name} complete-upload`));
  }

  async function put(): Promise<void> {
    const file = surroundings.fileInForce();
    if (surroundings.drains().size > 0 || file.backends.length < 3) return;
    const key = random.pick(plan.keys);
    const client = actors.startClient();
    const { actor } = client;
    const before = oracle.objects.get(key)?.generation;
    actors.put(client, key, { timeoutMs: 4 * hour });
    const isRecording = () => backendWritten(actor) !== undefined && world.isCommitting(actor);
    const isLooking = () => oracle.objects.get(key)?.generation !== before && world.isReadingFleet(actor);
    // As its commit is on its way, or behind that, as it reads how the fleet stands because what it knew is too old.
    const sleepsLate = random.chance(0.5);
    if (await untilAt(actor, isRecording)) {
      if (sleepsLate) world.pass(6_000);
      const name = backendWritten(actor)!;
      if (!sleepsLate || (await untilAt(actor, isLooking))) {
        faults.count('put overtaken');
        world.freeze(actor, 3 * minute);
        actors.apply(withoutBackend(file, name));
      }
    }
    await settle();
    actors.close(client);
    actors.apply(file);
    await settle();
  }

  async function sealedPut(): Promise<void> {
    const before = surroundings.fileInForce();
    const keys = plan.keys.filter((key) => isEncrypted(key));
    if (before.encryption?.rawKeyEnv === undefined || keys.length === 0) return;
    // Nothing but this put needs the key that is new.
    const file = rotatedFile(before, `KEY_OF_${world.step}`);
    actors.apply(file);
    await settle();
    const client = actors.startClient();
    const { actor } = client;
    actors.put(client, random.pick(keys), { timeoutMs: 24 * hour });
    const moments = [() => isAskingOwner(actor), () => world.isAboutToSend(actor), () => world.isWriting(actor)];
    if (await untilAt(actor, random.pick(moments))) {
      faults.count('sealed put overtaken');
      world.freeze(actor, 12 * hour);
      const replaced = rotatedFile(file, `KEY_AFTER_${world.step}`);
      actors.apply(replaced);
      await settleOthers();
      // Whatever it had named, and never sent, ends.
      for (const worker of ['pending-reaper', 'cleanup-queue', 'cleanup-queue'] as const) {
        await idleBeside(65 * minute);
        actors.startTick(worker, {}, 900_000);
        await settleOthers();
      }
      // To be refused while anything names one of them.
      for (const { rawKeyEnv } of [file.encryption!, before.encryption!]) {
        actors.apply(withoutKey(surroundings.fileInForce(), rawKeyEnv!));
        await settleOthers();
      }
      world.thawAll();
    }
    await settle();
    actors.close(client);
    await settle();
  }

  function isEncrypted(key: string): boolean {
    const { wide, default: usual } = plan.file.policies;
    return (key.startsWith(wide!.prefix ?? '') ? wide! : usual!).encrypt === true;
  }

  function isAskingOwner(actor: Actor): boolean {
    const names = surroundings.fileInForce().backends.map(({ name }) => name);
    return names.some((name) => actor.calls.has(`${name} HEAD`)) && world.pendingOf(actor) > 0;
  }

  async function count(): Promise<void> {
    actors.recount();
    const operator = world.actors.find(({ role }) => role === 'operator');
    if (operator === undefined || !(await untilAt(operator, () => world.isReadingFleet(operator)))) return settle();
    faults.count('count overtaken');
    world.freeze(operator, 2 * minute);
    const client = actors.startClient();
    for (const key of random.shuffled(plan.keys).slice(0, 3)) actors.put(client, key);
    await settle();
    actors.close(client);
    await settle();
  }

  async function source(): Promise<void> {
    const file = surroundings.fileInForce();
    const objects = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
    const ours = (copies: Readonly<Record<string, string>>) =>
      Object.keys(copies).filter((name) => copies[name] !== '');
    const entry = objects.find(
      (one) =>
        one.condition === 'sound' &&
        one.sha256 !== undefined &&
        ours(one.copies).length === Object.keys(one.copies).length &&
        oracle.goodCopies(one).length === factorOf(file, one.key) &&
        Object.keys(one.copies).length > 1 &&
        Object.keys(one.copies).length < file.backends.length,
    );
    if (entry === undefined || surroundings.drains().size > 0) return;
    const [, ...rewritten] = random.shuffled(Object.keys(entry.copies));
    for (const name of rewritten) {
      const bucket = surroundings.backends.get(name)!;
      const storageKey = storageKeyOf(entry.key, entry.copies[name]!);
      const stands = bucket.peek(storageKey);
      if (stands === undefined) continue;
      faults.count('headers rewritten');
      oracle.bytesHarmed(name, storageKey);
      bucket.putNow(storageKey, stands.bytes, {
        ...stands,
        headers: { contentType: `text/x-${world.step}` },
      });
    }
    const policies = Object.entries(file.policies).map(([name, rule]) => [name, { ...rule, factor: rule.factor + 1 }]);
    const raised = { ...file, policies: Object.fromEntries(policies) };
    actors.apply(raised);
    await settle();
    for (const worker of ['replicator', 'replicator'] as const) {
      actors.startTick(worker, {}, 900_000);
      await settle();
    }
    actors.apply(file);
    await settle();
  }

  return { put, sealedPut, count, source };
}
