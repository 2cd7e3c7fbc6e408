import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { EncryptionConfig, KeyChecks } from '../config/encryption.ts';
import { type BackendConfig, type FleetFile, maxKeyBytes } from '../config/fleet-file.ts';
import { type Parameters, parseParameters } from '../config/parameters.ts';
import { type Backend, BackendError, type Capabilities } from '../fleet/backend.ts';
import type { Asked } from '../fleet/forward.ts';
import { createMeter, type Meter } from '../fleet/meter.ts';
import { internalPrefix } from '../fleet/owner.ts';
import { ownershipProblem } from '../fleet/ownership-problem.ts';
import { requestCheck } from '../store/checks.ts';
import { type Committer, createCommitter } from '../store/committer.ts';
import { type BackendStanding, type FleetView, readFleet, standingOf } from '../store/fleet-view.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Store } from '../store/port.ts';
import type { Keyring } from '../transfer/keyring.ts';
import { ownershipOf } from '../transfer/ownership.ts';
import { createSpending, type Spending } from '../transfer/spending.ts';
import { HoldfastError } from './error.ts';
import { createSuspects, type Suspects } from './suspects.ts';

/** What a client needs from the process it runs in. */
export interface ClientDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
  /** The keyring that a fleet file asks for; loaded only when there is something to encrypt or decrypt. Absent: there is none. */
  openKeyring?(encryption: EncryptionConfig, checks?: KeyChecks): Promise<Keyring>;
  /** Up to this size an object is verified before its first byte is handed out [8 MiB]. */
  readonly wholeBytes?: number;
}

/** What the calls of one client share. */
export interface ClientContext {
  readonly deps: ClientDeps;
  readonly meter: Meter;
  readonly committer: Committer;
  /** The fleet as asked for at most 5 s ago. */
  fleet(): Promise<Fleet>;
  /** The same, with its age looked at once more after the answer: a process may sleep while it waits. Throws `undecided`. */
  freshFleet(): Promise<Fleet>;
  backend(fleet: Fleet, name: string): Promise<Backend>;
  /** Throws `no-key` when the fleet file names none or it cannot be had. */
  keyring(fleet: Fleet): Promise<Keyring>;
  /** Copies that this process found wrong a while ago. */
  readonly suspects: Suspects;
  /** Has the scrubber read an object before its turn. Never throws: reading goes on without it. */
  requestCheck(object: ObjectRecord, backend: string, reason: string): Promise<void>;
  /** What this process may still put within the usage limits, and what of it it holds. */
  readonly spending: Spending;
  /** Why nothing may be written to a backend now, as a sentence; null when its bucket answers and is ours. */
  obstacle(fleet: Fleet, name: string): Promise<string | null>;
}

export interface Fleet {
  readonly view: FleetView;
  readonly file: FleetFile;
  readonly fleetId: string;
  readonly params: Parameters;
  standing(name: string): BackendStanding;
}

/** What is decided by the fleet is decided by one that was asked for at most so long ago. */
export const fleetLifeMs = 5_000;
/** A metadata store that answers too slowly to decide anything by it is not asked for ever. */
const mostReadings = 5;
const ownerFreshMs = 60_000;
/** What a process draws of the usage limits it holds for so long, unless it writes down before what it spent. */
const portionLifeMs = 10 * 60_000;
/** A person's read is charged, and never refused. */
const writing: ReadonlySet<Asked['method']> = new Set([
  'put',
  'copyFrom',
  'createUpload',
  'uploadPart',
  'listParts',
  'completeUpload',
]);
const hourMs = 3_600_000;
/** One host with bad memory must not keep the scrubber from all others' objects. */
const checksPerHour = 100;

export function createContext(deps: ClientDeps): ClientContext {
  const spending = createSpending({
    store: deps.store,
    clock: deps.clock,
    holder: deps.ids.ulid(),
    backends: () => current?.file.backends ?? [],
    endsBy: () => deps.clock.now() + portionLifeMs,
    isFree: ({ method }) => !writing.has(method),
  });
  const meter = createMeter(deps.clock, spending);
  let cached: { at: number; fleet: Promise<Fleet> } | undefined;
  let current: Fleet | undefined;
  const handles = new Map<string, Promise<Backend>>();
  const owners = new Map<string, { at: number; obstacle: Promise<string | null> }>();
  const keyrings = new Map<string, Promise<Keyring>>();
  let checks = { since: 0, count: 0 };
  const context: ClientContext = {
    deps,
    async keyring({ file: { encryption }, view }) {
      const { openKeyring } = deps;
      if (encryption === undefined)
        throw new HoldfastError(
          'no-key',
          'Cannot encrypt or decrypt: the fleet file names no key; add "encryption" to it',
        );
      if (openKeyring === undefined)
        throw new HoldfastError('no-key', 'Cannot encrypt or decrypt: this process was made without a keyring');
      const keyChecks = view.config?.keyChecks;
      const id = JSON.stringify([encryption, keyChecks]);
      const opened = keyrings.get(id) ?? openKeyring(encryption, keyChecks);
      keyrings.set(id, opened);
      try {
        return await opened;
      } catch (error) {
        keyrings.delete(id);
        throw new HoldfastError('no-key', (error as Error).message, error);
      }
    },
    meter,
    spending,
    suspects: createSuspects(deps.clock),
    async requestCheck({ key, generation, copies }, backend, reason) {
      const now = deps.clock.now();
      if (now - checks.since >= hourMs) checks = { since: now, count: 0 };
      if (checks.count >= checksPerHour) return;
      checks.count += 1;
      const asked = { key, backend, generation, copyId: copies[backend] ?? '', reason };
      await requestCheck(deps, asked).catch((error: Error) =>
        deps.log.warn('A check could not be asked for', { key, backend, message: error.message }),
      );
    },
    committer: createCommitter(() => ({
      store: deps.store,
      clock: deps.clock,
      ids: deps.ids,
      stripes: current!.params.ledgerStripes,
      quotaOf: (name) => current!.file.backends.find((b) => b.name === name)?.quotaBytes ?? 0,
      whoTakes: async () => {
        const { standing } = await context.fleet();
        return { isFresh: true, takesCopies: (name) => standing(name).takesCopies };
      },
    })),
    async fleet() {
      const now = deps.clock.now();
      if (cached === undefined || now - cached.at >= fleetLifeMs) {
        const fleet = readFleet(deps.store, now).then((view) => fleetOf(deps, view));
        cached = { at: now, fleet };
        fleet.catch(() => {
          cached = undefined;
        });
      }
      current = await cached.fleet;
      return current;
    },
    async freshFleet() {
      for (let reading = 0; reading < mostReadings; reading += 1) {
        const fleet = await context.fleet();
        if (deps.clock.now() - fleet.view.readAt < fleetLifeMs) return fleet;
      }
      throw new HoldfastError('undecided', 'Cannot read the fleet: DynamoDB did not answer in time; try again');
    },
    backend(fleet, name) {
      const config = fleet.file.backends.find((b) => b.name === name);
      if (config === undefined) throw new Error(`Backend "${name}" is not in the fleet file`);
      const id = `${fleet.view.config!.version} ${name}`;
      const existing = handles.get(id);
      if (existing !== undefined) return existing;
      const opened = deps
        .openBackend(config, fleet.view.capabilities(name) as Capabilities, 'read-write')
        .then((b) => meter.watch(b, config.requestClasses));
      handles.set(id, opened);
      opened.catch(() => handles.delete(id));
      return opened;
    },
    async obstacle(fleet, name) {
      const now = deps.clock.now();
      const existing = owners.get(name);
      if (existing !== undefined && now - existing.at < ownerFreshMs) return existing.obstacle;
      const obstacle = askOwner(context, fleet, name);
      owners.set(name, { at: now, obstacle });
      // Only a good answer is remembered.
      const forget = () => owners.delete(name);
      obstacle.then((found) => found !== null && forget(), forget);
      return obstacle;
    },
  };
  return context;
}

async function askOwner(context: ClientContext, fleet: Fleet, name: string): Promise<string | null> {
  const { deps } = context;
  try {
    const backend = await context.backend(fleet, name);
    const found = await ownershipOf(deps.store, fleet.view, fleet.fleetId, backend);
    const problem = ownershipProblem({ fleetId: fleet.fleetId, backend: name }, found);
    if (problem !== null)
      deps.log.error('The bucket is not this fleet’s: nothing is written there', { backend: name, ...found });
    return problem;
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    deps.log.warn('Backend is not usable', { backend: name, kind: error.kind, message: error.message });
    return error.message;
  }
}

function fleetOf(deps: ClientDeps, view: FleetView): Fleet {
  if (view.config === null)
    throw new HoldfastError('not-configured', 'The fleet has no configuration: run `holdfast init` first');
  const params = parseParameters(deps.env, view.settings.overrides);
  return {
    view,
    file: view.config.file,
    fleetId: view.config.fleetId,
    params,
    standing: (name) => standingOf(view, name, deps.clock.now(), params.unhealthyAfterMs),
  };
}

/** Throws `bad-key` unless every backend of the fleet can hold this key with a copy id behind it. */
export function checkKey(file: FleetFile, key: string): void {
  const max = maxKeyBytes(file);
  if (typeof key !== 'string') throw new HoldfastError('bad-key', `A key must be a string; this one is ${typeof key}`);
  const bytes = Buffer.byteLength(key);
  const abbreviated = key.length > 80 ? `${key.slice(0, 80)}…` : key;
  if (key === '') throw new HoldfastError('bad-key', `A key must have 1 to ${max} bytes; this one is empty`);
  if (!key.isWellFormed())
    throw new HoldfastError('bad-key', `The key "${abbreviated}" is not valid Unicode: it has a lone surrogate`);
  if (bytes > max)
    throw new HoldfastError('bad-key', `The key "${abbreviated}" has ${bytes} UTF-8 bytes; at most ${max} are allowed`);
  if (key.startsWith(internalPrefix))
    throw new HoldfastError('bad-key', `The key "${abbreviated}" begins with "${internalPrefix}", which is reserved`);
}
