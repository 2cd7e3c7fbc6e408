import { defined } from '../../base/defined.ts';
import type { FleetFile } from '../../config/fleet-file.ts';
import { fingerprintOf } from '../../config/place.ts';
import type { Capabilities } from '../../fleet/backend.ts';
import type { FleetConfig, FleetView } from '../../store/fleet-view.ts';
import type { Change } from '../../store/port.ts';
import { isRecoveryPending } from '../../store/recovery.ts';
import { fleetKey, rowKeys } from '../../store/row-keys.ts';
import { holdingOf, namesNothing, readTwice } from '../naming.ts';
import { type ApplyDeps, type ApplyOptions, contended, NotApplied } from './deps.ts';
import { keyFieldsOf } from './keys.ts';
import { digestOfFile } from './problems.ts';

/** A file that was checked against a fleet and whose buckets are claimed. */
export interface Candidate {
  readonly file: FleetFile;
  /** As it was given: a rollback may have to keep more keys than it lists. */
  readonly given: FleetFile;
  readonly fleetId: string;
  readonly capabilities: Readonly<Record<string, Capabilities>>;
}

/** A backend that left the file and still holds something: its copies stay recorded and its queue waits. */
export interface Parked {
  readonly backend: string;
  readonly objects: number;
  readonly queueItems: number;
}

/**
 * From here on a leaving backend is out of the file. By then nobody acknowledges, or records, what they decided by the file
 * before: a put looks at a fleet of at most five seconds ago before it is acknowledged, and a worker before it commits.
 */
const leavingMs = 30_000;

/**
 * Why backends may not leave the file now: one sentence for each that still holds something, or may. Before a recovery is
 * complete its tables do not know what a backend holds: it may be the only one that has what was put last, and is not looked at
 * once it is out of the file.
 */
export function problemsOfLeaving(
  view: FleetView,
  file: FleetFile,
  options: ApplyOptions,
  isTakenOver: boolean,
): string[] {
  if (mayPark(view, file, options)) return [];
  return leavingNames(view, file).flatMap((name) => {
    if (isTakenOver || isRecoveryPending(view))
      return [
        `Backend "${name}" leaves the file, and what it holds is not known before a recovery is complete: keep it in the file and run \`holdfast recover\` first, or, if it is gone for good, \`apply --park\``,
      ];
    const { objects, queueItems } = parkedOf(view, name);
    if (objects === 0 && queueItems === 0) return [];
    return [
      `Backend "${name}" leaves the file and still holds ${objects} objects and ${queueItems} queue items: drain it first, or \`apply --park\` leaves them where they are, unread`,
    ];
  });
}

function mayPark(view: FleetView, file: FleetFile, options: ApplyOptions): boolean {
  return options.park === 'any' || isRollback(view, file, options);
}

/** Whether a deployment goes back to the file that was in force before. */
export function isRollback(view: FleetView, file: FleetFile, { park }: ApplyOptions): boolean {
  return park === 'rollback' && view.config?.digests.former === digestOfFile(file);
}

function leavingNames(view: FleetView, file: FleetFile): string[] {
  const names = (view.config?.file.backends ?? []).map(({ name }) => name);
  return names.filter((name) => !file.backends.some((backend) => backend.name === name));
}

function parkedOf(view: FleetView, backend: string): Parked {
  const { copies, queued } = holdingOf(view, backend);
  return { backend, objects: copies.objects, queueItems: queued.objects };
}

/**
 * Writes the file as a new version, on condition of the one that was read. Backends that leave it take nothing more first,
 * while they are still in the file, and half a minute later they are out. What they were found to hold then, and nobody allowed
 * to be parked, brings the former file back.
 */
export async function putInForce(
  deps: ApplyDeps,
  view: FleetView,
  candidate: Candidate,
  options: ApplyOptions,
): Promise<{ readonly version: number; readonly parked: readonly Parked[] }> {
  const names = leavingNames(view, candidate.file);
  if (names.every((name) => isClosed(deps, view, name))) {
    return { version: await writeVersion(deps, view, candidate, []), parked: [] };
  }
  const first = await writeVersion(deps, view, candidate, names);
  deps.log.info('Backends leave the fleet file', { audit: true, backends: names, version: first });
  await deps.clock.sleep(leavingMs);
  const readings = await readTwice(deps);
  const now = readings[1];
  if (now.config?.version !== first) throw contended();
  const parked = names.filter((name) => !namesNothing(readings, name)).map((name) => parkedOf(now, name));
  if (parked.length > 0 && !mayPark(view, candidate.given, options)) {
    await writeVersion(
      deps,
      now,
      { ...candidate, file: view.config!.file, given: view.config!.file },
      [],
      view.config!.digests,
    );
    throw new NotApplied(
      parked.map(
        ({ backend }) => `Backend "${backend}" received something while it was about to leave the file: drain it first`,
      ),
    );
  }
  return { version: await writeVersion(deps, now, candidate, [], digestsOf(view, candidate.given)), parked };
}

/** Whether a drain found a backend empty, so long ago that nobody can record anything there any more. */
function isClosed(deps: ApplyDeps, view: FleetView, name: string): boolean {
  const closedSince = view.drain(name)?.closedSince;
  const isEmpty = !view.namedBackends().includes(name);
  return isEmpty && closedSince !== undefined && deps.clock.now() - closedSince > leavingMs;
}

/** The same file applied again does not make it the one before itself. */
function digestsOf(view: FleetView, file: FleetFile): FleetConfig['digests'] {
  const digest = digestOfFile(file);
  const before = view.config?.digests ?? {};
  const former = before.file === digest ? before.former : before.file;
  return { file: digest, ...defined({ former }) };
}

async function writeVersion(
  deps: ApplyDeps,
  view: FleetView,
  { file, given, fleetId, capabilities }: Candidate,
  leaving: readonly string[],
  digests: FleetConfig['digests'] = digestsOf(view, given),
): Promise<number> {
  const version = (view.config?.version ?? 0) + 1;
  const staying = (view.config?.file.backends ?? []).filter(({ name }) => leaving.includes(name));
  const before = view.config?.leaving ?? {};
  const data = {
    fleetId,
    file: { ...file, backends: [...file.backends, ...staying] },
    fingerprints: {
      ...view.config?.fingerprints,
      ...Object.fromEntries(file.backends.map((b) => [b.name, fingerprintOf(b)])),
    },
    leaving: Object.fromEntries(leaving.map((name) => [name, before[name] ?? { since: deps.clock.now() }])),
    digests,
    ...keyFieldsOf(view, file, deps.env ?? {}, deps.clock.now()),
  };
  const changes: Change[] = [
    { kind: 'row', put: { pk: fleetKey, sk: rowKeys.config, version, data }, expect: view.config?.version ?? 'absent' },
    ...quotaSeeds(view, file),
    ...file.backends.flatMap(({ name }) => capabilitiesRow(view, name, capabilities[name])),
  ];
  const answer = await deps.store.transact(changes, deps.ids.ulid());
  if (answer.outcome === 'done') return version;
  throw contended();
}

function capabilitiesRow(view: FleetView, name: string, found: Capabilities | undefined): Change[] {
  if (found === undefined) return [];
  const row = view.row(rowKeys.capabilities(name));
  const sk = rowKeys.capabilities(name);
  const put = { pk: fleetKey, sk, version: (row?.version ?? 0) + 1, data: { ...found } };
  return [{ kind: 'row', put, expect: row?.version ?? 'absent' }];
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
