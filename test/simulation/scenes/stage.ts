import type { FleetFile, PolicyConfig } from '../../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../../lib/config/parameters.ts';
import type { ObjectRecord } from '../../../lib/store/model.ts';
import type { MemoryBackend } from '../../../lib/testing/backend/memory-backend.ts';
import type { TickEvent, TickReport } from '../../../lib/tick/tick.ts';
import type { ClientProcess } from '../actors.ts';
import type { CalmDeps } from '../deps.ts';
import type { Needs } from '../needs.ts';
import type { Actor } from '../operation.ts';
import { storageKeyOf } from '../oracle/reading.ts';
import type { Random } from '../random.ts';
import { flipped } from '../sim-backend.ts';

export interface StageDeps extends CalmDeps {
  readonly needs: Needs;
  /** Until every process has ended or waits for nothing. */
  settle(): Promise<void>;
  idle(ms: number): Promise<void>;
}

/** What scenes are played with: a fleet at rest, in which nothing goes wrong but what a scene does. */
export interface Stage extends StageDeps {
  readonly random: Random;
  /** Whether three backends at least are in the file, none drains, and all of them answer as far as is known. */
  isReady(): Promise<boolean>;
  bucket(name: string): MemoryBackend;
  names(): string[];
  /** Lets things happen until a process is at some point; false where it ends before. */
  untilAt(actor: Actor, isThere: () => boolean): Promise<boolean>;
  /** Until every process but one has ended. */
  settleBeside(sleeper: Actor): Promise<void>;
  /** One step of everything that can happen; false where nothing can. */
  advance(): Promise<boolean>;
  tick(worker: WorkerName, event?: Omit<TickEvent, 'deadline'>): Promise<TickReport>;
  apply(file: FleetFile): Promise<void>;
  /** The file in force with room everywhere and no rule but a factor; `change` says what else a policy has. */
  roomyFile(factor: number, change?: Partial<PolicyConfig>): FleetFile;
  /** What a client did, once it has ended. */
  asClient(act: (client: ClientProcess) => void): Promise<void>;
  /** Puts an object on so many backends; undefined where it does not stand on just these, sound. */
  putNew(copies: number, sizeBytes?: number): Promise<ObjectRecord | undefined>;
  recordOf(key: string): ObjectRecord | undefined;
  /** Where a copy of an object stands. */
  storageOf(record: ObjectRecord, backend: string): string;
  /** One bit of a copy is turned where it stands. */
  rot(record: ObjectRecord, backend: string): void;
  /** Places of copies that records name on a backend. */
  namedOn(backend: string): Set<string>;
  /** Parameters that an operator sets, beside those of a fleet at rest. */
  tune(overrides: Readonly<Record<string, string>>): void;
}

const minute = 60_000;
const atRest = { SCRUBBER_BATCH_SIZE: '1000', RECONCILER_BATCH_SIZE: '1000' };

export function createStage(deps: StageDeps, random: Random): Stage {
  const { world, plan, oracle, actors, surroundings, step, settle, idle } = deps;
  const bucket = (name: string) => surroundings.backends.get(name)!;
  const names = () => surroundings.fileInForce().backends.map(({ name }) => name);
  const storageOf = ({ key, copies }: ObjectRecord, backend: string) => storageKeyOf(key, copies[backend]!);

  async function untilAt(actor: Actor, isThere: () => boolean): Promise<boolean> {
    while (actor.state === 'running') {
      if (isThere()) return true;
      if (!(await step()) && !world.jump()) return false;
    }
    return false;
  }

  async function settleBeside(sleeper: Actor): Promise<void> {
    const isOther = ({ actor }: { readonly actor: Actor }) => actor !== sleeper;
    const isAtWork = () =>
      world.actors.some((actor) => actor !== sleeper && actor.role === 'operator') ||
      [...actors.ticks].some(isOther) ||
      [...actors.clients].some((client) => isOther(client) && client.busy.size > 0);
    while (isAtWork()) if (!(await step())) world.jump();
  }

  async function asClient(act: (client: ClientProcess) => void): Promise<void> {
    const client = actors.startClient();
    act(client);
    await settle();
    actors.close(client);
    await settle();
  }

  async function tick(worker: WorkerName, event: Omit<TickEvent, 'deadline'> = {}): Promise<TickReport> {
    const running = actors.startTick(worker, event, 900_000);
    await settle();
    return running.report!;
  }

  function recordOf(key: string): ObjectRecord | undefined {
    const entry = oracle.objects.get(key);
    return entry?.kind === 'object' ? entry : undefined;
  }

  return {
    ...deps,
    random,
    bucket,
    names,
    untilAt,
    settleBeside,
    asClient,
    recordOf,
    storageOf,
    async isReady() {
      // A backend that was lost for a while is asked again.
      for (let tries = 0; tries < 3 && surroundings.unhealthyBackends().length > 0; tries += 1) {
        await idle(7 * minute);
        await tick('replicator');
      }
      return names().length >= 3 && surroundings.drains().size === 0 && surroundings.unhealthyBackends().length === 0;
    },
    advance: step,
    tick,
    async apply(file) {
      actors.apply(file);
      await settle();
    },
    roomyFile(factor, change = {}) {
      const file = surroundings.fileInForce();
      const backends = file.backends.map((one) => ({ ...one, quotaBytes: 0, maxObjectBytes: 0 }));
      const policies = Object.entries(file.policies).map(([name, { prefix, encrypt }]) => {
        const rule = { ...(prefix !== undefined && { prefix }), ...(encrypt !== undefined && { encrypt }) };
        return [name, { ...rule, factor, ...change }];
      });
      return { ...file, backends, policies: Object.fromEntries(policies) };
    },
    async putNew(copies, sizeBytes) {
      const key = random.pick(plan.keys);
      await asClient((client) => actors.put(client, key, { copies, ...(sizeBytes !== undefined && { sizeBytes }) }));
      const record = recordOf(key);
      const isAsAsked = record?.condition === 'sound' && oracle.goodCopies(record).length === copies;
      return isAsAsked && Object.keys(record.copies).length === copies ? record : undefined;
    },
    rot(record, backend) {
      const storageKey = storageOf(record, backend);
      const existing = bucket(backend).peek(storageKey)!;
      oracle.bytesHarmed(backend, storageKey);
      bucket(backend).putNow(storageKey, flipped(existing.bytes, random, 'rest'), existing);
    },
    namedOn(backend) {
      const records = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
      return new Set(
        records.flatMap((one) =>
          one.copies[backend] === undefined ? [] : [storageKeyOf(one.key, one.copies[backend])],
        ),
      );
    },
    tune: (overrides) => surroundings.set({ overrides: { ...atRest, ...overrides } }),
  };
}
