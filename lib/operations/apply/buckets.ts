import { defined } from '../../base/defined.ts';
import type { BackendConfig, FleetFile } from '../../config/fleet-file.ts';
import { type Fingerprint, fingerprintOf } from '../../config/place.ts';
import { ConfigError } from '../../config/problems.ts';
import { BackendError, type Capabilities } from '../../fleet/backend.ts';
import { type Ownership, readOwner } from '../../fleet/owner.ts';
import { ownershipProblem } from '../../fleet/ownership-problem.ts';
import { writeOwner } from '../../fleet/write-owner.ts';
import type { FleetView } from '../../store/fleet-view.ts';
import { beginRecovery } from '../../store/recovery.ts';
import { fleetKey, rowKeys } from '../../store/row-keys.ts';
import { readStarts } from '../../store/starts.ts';
import { ownershipOf } from '../../transfer/ownership.ts';
import { withReason } from '../ask-for-reason.ts';
import { type ApplyDeps, type ApplyOptions, contended, NotApplied, sentenceOf } from './deps.ts';
import { brokenPromise } from './promises.ts';

/** `ours` · `free` to be claimed · `taken-over` from other tables · `unreachable` known as ours and not answering now · `problem` why the file is refused. */
export type Bucket =
  | { readonly outcome: 'ours' | 'free' | 'taken-over' | 'unreachable' }
  | { readonly outcome: 'problem'; readonly sentence: string };

/** Whose the bucket of a backend is, and whether it may be claimed. Writes nothing. */
export async function inspectBucket(
  deps: ApplyDeps,
  view: FleetView,
  config: BackendConfig,
  options: ApplyOptions,
): Promise<Bucket> {
  const { name } = config;
  const problem = (text: string): Bucket => ({ outcome: 'problem', sentence: text });
  try {
    const fleetId = String(view.row(rowKeys.identity)?.data.fleetId ?? '');
    const found = await lookAt(deps, view, config, fleetId);
    const sentence = ownershipProblem({ fleetId, backend: name }, found);
    if (sentence === null) return { outcome: 'ours' };
    if (options.takeOver) return { outcome: found.outcome === 'absent' ? 'free' : 'taken-over' };
    if (found.outcome !== 'absent') return problem(`${sentence}; \`init --take-over\` claims it`);
    if (view.namedBackends().includes(name)) {
      return problem(
        `The bucket of backend "${name}" has no owner object, although objects are recorded there: it is not the bucket it was; \`init --take-over\` claims it`,
      );
    }
    return { outcome: 'free' };
  } catch (error) {
    // An outage must not keep an operator from changing the rest of a fleet.
    if (isKnownPlace(view, config) && error instanceof BackendError && isOutage(view, config, error))
      return { outcome: 'unreachable' };
    return problem(sentenceOf(error));
  }
}

function isKnownPlace(view: FleetView, config: BackendConfig): boolean {
  const known = view.config?.fingerprints[config.name];
  // Sorted: a table does not keep the order of fields.
  const textOf = (place: Fingerprint) => JSON.stringify(Object.entries(place).sort());
  return known !== undefined && textOf(known) === textOf(fingerprintOf(config));
}

/** A refusal of what was never tried before, such as new keys, is something to be told. */
function isOutage(view: FleetView, config: BackendConfig, error: BackendError): boolean {
  if (error.kind === 'missing-credentials') return false;
  const waysIn = ({ region, pathStyle, credentials }: BackendConfig) =>
    JSON.stringify([region, pathStyle, Object.entries(credentials).sort()]);
  const before = view.config?.file.backends.find(({ name }) => name === config.name);
  return error.isUnanswered || (before !== undefined && waysIn(before) === waysIn(config));
}

/** What the file says a backend can do goes over what was found. */
export function withSettings(found: Capabilities, { capabilities = {} }: BackendConfig): Capabilities {
  return { ...found, ...defined(capabilities) };
}

/** Writes the owner object where it is missing, and finds its capabilities; those known before, where nobody answers. */
export async function claimBucket(
  deps: ApplyDeps,
  view: FleetView,
  config: BackendConfig,
  fleetId: string,
  state: Bucket['outcome'],
): Promise<Capabilities> {
  const { name } = config;
  if (state === 'unreachable') return withSettings(view.capabilities(name) as Capabilities, config);
  if (state === 'free' || state === 'taken-over') {
    // Noted before the first owner object is replaced: nothing is deleted before what these buckets hold is known.
    if (state === 'taken-over' && !(await beginRecovery(deps.store, deps.clock.now()))) throw contended();
    const backend = await deps.openBackend(config, {}, 'read-write');
    const { latest: start } = await readStarts(deps.store);
    await writeOwner(backend, { fleetId, backend: name, tables: await deps.store.identity(), ...defined({ start }) });
  }
  const capabilities = withSettings(await deps.findCapabilities(config), config);
  const broken = brokenPromise(capabilities, config);
  if (broken !== null) throw new BackendError('unsupported', name, broken);
  // Two fleets may have claimed it in the same moment: the one whose owner object did not stay sees the other's.
  const owner = await lookAt(deps, view, config, fleetId);
  if (owner.outcome === 'ours') return capabilities;
  const what = owner.outcome === 'absent' ? 'has lost its owner object' : `now belongs to ${whose(owner)}`;
  throw new BackendError(
    'rejected',
    name,
    `The bucket of backend "${name}" ${what}: another \`apply\` is at work there`,
  );
}

function whose(found: Ownership): string {
  return found.outcome === 'another' ? `"${found.owner}"` : 'other tables of this fleet';
}

async function lookAt(deps: ApplyDeps, view: FleetView, config: BackendConfig, fleetId: string) {
  const backend = await deps.openBackend(config, {}, 'read-write');
  return withReason(backend, () => ownershipOf(deps.store, view, fleetId, backend));
}

/** Written before any bucket is claimed in its name, so that a crash in between leaves nothing another's. */
export async function fleetIdOf(
  deps: ApplyDeps,
  view: FleetView,
  file: FleetFile,
  options: ApplyOptions,
): Promise<string> {
  const row = view.row(rowKeys.identity);
  const former = options.takeOver && view.config === null ? await formerFleetId(deps, file) : null;
  const existing = row?.data.fleetId;
  if (typeof existing === 'string' && (former === null || former === existing)) return existing;
  const fleetId = former ?? deps.ids.ulid();
  const put = { pk: fleetKey, sk: rowKeys.identity, version: (row?.version ?? 0) + 1, data: { fleetId } };
  const answer = await deps.store.write({ kind: 'row', put, expect: row?.version ?? 'absent' });
  if (answer.outcome === 'done') return fleetId;
  throw new NotApplied(['another `init` is running: try again when it has ended']);
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
