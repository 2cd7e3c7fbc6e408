import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { BackendConfig, FleetFile } from '../config/fleet-file.ts';
import { type Fingerprint, fingerprintOf, fingerprintsOverlap } from '../config/place.ts';
import { ConfigError } from '../config/problems.ts';
import { type Backend, BackendError, type Capabilities, isOutage } from '../fleet/backend.ts';
import { readOwner, readOwnership, writeOwner } from '../fleet/owner.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import type { Change, Store } from '../store/port.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';

/** What `apply` needs from the process it runs in. */
export interface ApplyDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
  /** Finds out what a backend can do, by writing and deleting small objects below `.holdfast/capabilities/`. */
  findCapabilities(config: BackendConfig): Promise<Capabilities>;
}

export interface ApplyOptions {
  /** Claim buckets that belong to other tables: after the own tables were lost. */
  readonly takeOver?: boolean;
}

/** The file is as it should be; what it names, or this moment, did not let it be applied. */
export class NotApplied extends ConfigError {
  constructor(problems: readonly string[]) {
    super('The fleet file cannot be applied', problems);
  }
}

export interface Applied {
  readonly version: number;
  readonly fleetId: string;
  readonly capabilities: Readonly<Record<string, Capabilities>>;
}

/**
 * Puts a fleet file in force: the only way it changes. Checks every backend, claims its bucket with an owner object while
 * nothing is recorded there, finds what it can do, and writes the file as a new version, on condition of the one read.
 *
 * @throws ConfigError with every problem of the file; NotApplied with every problem of the backends; StoreError when the store refuses
 */
export async function apply(deps: ApplyDeps, file: FleetFile, options: ApplyOptions = {}): Promise<Applied> {
  const view = await readFleet(deps.store, deps.clock.now());
  const fileProblems = fingerprintProblems(view, file);
  // Everything is looked at before anything is claimed: a refused file leaves no trace.
  const found = await Promise.all(file.backends.map((config) => inspect(deps, view, config, options)));
  refuse(
    fileProblems,
    found.flatMap((state) => (state.outcome === 'problem' ? [state.sentence] : [])),
  );
  const fleetId = await fleetIdOf(deps, view, file, options);
  const capabilities: Record<string, Capabilities> = {};
  const problems: string[] = [];
  for (const [i, config] of file.backends.entries()) {
    try {
      capabilities[config.name] = await claim(deps, view, config, fleetId, found[i]!.outcome, options);
    } catch (error) {
      problems.push(sentence(error));
    }
  }
  refuse([], problems);
  const version = await writeConfig(deps, view, file, fleetId, capabilities);
  return { version, fleetId, capabilities };
}

/** A backend that still holds something must stay where it is, and no other may reach into it. */
function fingerprintProblems(view: FleetView, file: FleetFile): string[] {
  const holding = new Set(view.namedBackends());
  const known = Object.entries(view.config?.fingerprints ?? {}).filter(([name]) => holding.has(name));
  const show = ({ endpoint, bucket, prefix }: Fingerprint) => `${endpoint} bucket "${bucket}" prefix "${prefix}"`;
  const problems: string[] = [];
  for (const backend of file.backends) {
    const now = fingerprintOf(backend);
    for (const [name, before] of known) {
      const isSame = before.endpoint === now.endpoint && before.bucket === now.bucket && before.prefix === now.prefix;
      if (name === backend.name && !isSame) {
        problems.push(`Backend "${name}" still holds objects at ${show(before)}; it cannot become ${show(now)}`);
      }
      if (name !== backend.name && fingerprintsOverlap(before, now)) {
        problems.push(
          `Backend "${backend.name}" at ${show(now)} overlaps "${name}", which still holds objects at ${show(before)}`,
        );
      }
    }
  }
  return problems;
}

/** Written before any bucket is claimed in its name, so that a crash in between leaves nothing another's. */
async function fleetIdOf(deps: ApplyDeps, view: FleetView, file: FleetFile, options: ApplyOptions): Promise<string> {
  const row = view.row(rowKeys.identity);
  const former = options.takeOver && view.config === null ? await formerFleetId(deps, file) : null;
  const existing = row?.data.fleetId;
  if (typeof existing === 'string' && (former === null || former === existing)) return existing;
  const fleetId = former ?? deps.ids.ulid();
  const put = { pk: fleetKey, sk: rowKeys.identity, version: (row?.version ?? 0) + 1, data: { fleetId } };
  const answer = await deps.store.write({ kind: 'row', put, expect: row?.version ?? 'absent' });
  if (answer.outcome === 'done') return fleetId;
  throw new NotApplied(['another `init` is running at this moment']);
}

/** The fleet whose buckets are taken over: the marks on their bytes name it, so new tables carry its id on. */
async function formerFleetId(deps: ApplyDeps, file: FleetFile): Promise<string | null> {
  const former = new Set<string>();
  for (const config of file.backends) {
    const owner = await readOwner(await deps.openBackend(config, {}, 'read-write'));
    if (owner !== null) former.add(owner.fleetId);
  }
  if (former.size > 1) {
    throw new ConfigError('The fleet file cannot be applied', [
      `its buckets belong to different fleets: ${[...former].join(', ')}`,
    ]);
  }
  return [...former][0] ?? null;
}

/** `ours` · `free` to be claimed · `unreachable` known as ours and not answering now · `problem` why the file is refused. */
type Bucket =
  | { readonly outcome: 'ours' | 'free' | 'unreachable' }
  | { readonly outcome: 'problem'; readonly sentence: string };

async function inspect(
  deps: ApplyDeps,
  view: FleetView,
  config: BackendConfig,
  options: ApplyOptions,
): Promise<Bucket> {
  const { name } = config;
  const problem = (text: string): Bucket => ({ outcome: 'problem', sentence: text });
  try {
    const fleetId = String(view.row(rowKeys.identity)?.data.fleetId ?? '');
    const owner = { fleetId, backend: name, tables: await deps.store.identity() };
    const found = await readOwnership(await deps.openBackend(config, {}, 'read-write'), owner);
    if (found.outcome === 'ours') return { outcome: 'ours' };
    if (options.takeOver) return { outcome: 'free' };
    if (found.outcome === 'another') {
      return problem(
        `The bucket of backend "${name}" belongs to another fleet ("${found.owner}"); \`init --take-over\` claims it`,
      );
    }
    if (view.namedBackends().includes(name)) {
      return problem(
        `The bucket of backend "${name}" has no owner object, although objects are recorded there: it is not the bucket it was; \`init --take-over\` claims it`,
      );
    }
    return { outcome: 'free' };
  } catch (error) {
    // An outage must not keep an operator from changing the rest of a fleet.
    const isKnown = JSON.stringify(view.config?.fingerprints[name]) === JSON.stringify(fingerprintOf(config));
    if (isKnown && error instanceof BackendError && isOutage(error)) return { outcome: 'unreachable' };
    return problem(sentence(error));
  }
}

/** Writes the owner object where it is missing, and finds its capabilities; those known before, where nobody answers. */
async function claim(
  deps: ApplyDeps,
  view: FleetView,
  config: BackendConfig,
  fleetId: string,
  state: Bucket['outcome'],
  options: ApplyOptions,
): Promise<Capabilities> {
  const { name } = config;
  if (state === 'unreachable') {
    deps.log.warn('Backend does not answer: applied with the abilities it had', { backend: name });
    return view.capabilities(name) as Capabilities;
  }
  if (state === 'free') {
    if (options.takeOver) await onlyReport(deps, view, name);
    const backend = await deps.openBackend(config, {}, 'read-write');
    await writeOwner(backend, { fleetId, backend: name, tables: await deps.store.identity() });
  }
  return deps.findCapabilities(config);
}

function refuse(fileProblems: readonly string[], problems: readonly string[]): void {
  if (fileProblems.length > 0)
    throw new ConfigError('The fleet file cannot be applied', [...fileProblems, ...problems]);
  if (problems.length > 0) throw new NotApplied(problems);
}

/**
 * After a take-over the tables may know less than the bucket holds: nothing there is enqueued or deleted until a recovery
 * is complete.
 */
async function onlyReport(deps: ApplyDeps, view: FleetView, name: string): Promise<void> {
  const row = view.row(rowKeys.reportOnly(name));
  const put = {
    pk: fleetKey,
    sk: rowKeys.reportOnly(name),
    version: (row?.version ?? 0) + 1,
    data: { since: deps.clock.now() },
  };
  await deps.store.write({ kind: 'row', put, expect: row?.version ?? 'absent' });
}

function sentence(error: unknown): string {
  if (error instanceof BackendError) return error.message;
  throw error;
}

async function writeConfig(
  deps: ApplyDeps,
  view: FleetView,
  file: FleetFile,
  fleetId: string,
  capabilities: Readonly<Record<string, Capabilities>>,
): Promise<number> {
  const version = (view.config?.version ?? 0) + 1;
  const holding = new Set(view.namedBackends());
  const kept = Object.entries(view.config?.fingerprints ?? {}).filter(([name]) => holding.has(name));
  const fingerprints = {
    ...Object.fromEntries(kept),
    ...Object.fromEntries(file.backends.map((b) => [b.name, fingerprintOf(b)])),
  };
  const data = { fleetId, file, fingerprints };
  const changes: Change[] = [
    { kind: 'row', put: { pk: fleetKey, sk: rowKeys.config, version, data }, expect: view.config?.version ?? 'absent' },
    ...quotaSeeds(view, file),
    ...file.backends.map(({ name }): Change => {
      const row = view.row(rowKeys.capabilities(name));
      const put = {
        pk: fleetKey,
        sk: rowKeys.capabilities(name),
        version: (row?.version ?? 0) + 1,
        data: { ...capabilities[name] },
      };
      return { kind: 'row', put, expect: row?.version ?? 'absent' };
    }),
  ];
  const answer = await deps.store.transact(changes, deps.ids.ulid());
  if (answer.outcome === 'done') return version;
  throw new NotApplied(['another version was applied meanwhile: look at it and apply again']);
}

/** A quota that appears starts from what is known to be there; `recount --repair` mends what a commit in this instant missed. */
function quotaSeeds(view: FleetView, file: FleetFile): Change[] {
  return file.backends.flatMap(({ name, quotaBytes }): Change[] => {
    const had = view.config?.file.backends.find((b) => b.name === name)?.quotaBytes ?? 0;
    const bytes = view.usedBytes(name) - view.quotaBytesUsed(name);
    if (quotaBytes === 0 || had > 0 || bytes === 0) return [];
    return [{ kind: 'add', pk: fleetKey, sk: rowKeys.quota(name), add: { objects: 0, bytes } }];
  });
}
