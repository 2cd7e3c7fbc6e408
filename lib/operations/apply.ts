import type { FleetFile } from '../config/fleet-file.ts';
import { ConfigError } from '../config/problems.ts';
import type { Capabilities } from '../fleet/backend.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { addStart } from '../store/starts.ts';
import { claimBucket, fleetIdOf, inspectBucket } from './apply/buckets.ts';
import { type ApplyDeps, type ApplyOptions, NotApplied, sentenceOf } from './apply/deps.ts';
import { isRollback, type Parked, problemsOfLeaving, putInForce } from './apply/in-force.ts';
import { missingKeys, problemsOfKeys, withNeededKeys } from './apply/keys.ts';
import { problemsOfFile, warningsOfFile } from './apply/problems.ts';

export interface Applied {
  readonly version: number;
  readonly fleetId: string;
  readonly capabilities: Readonly<Record<string, Capabilities>>;
  /** What a person should know of the file in force now. */
  readonly warnings: readonly string[];
  readonly parked: readonly Parked[];
}

/**
 * Puts a fleet file in force: the only way it changes. Checks every backend, claims its bucket with an owner object while
 * nothing is recorded there, finds what it can do, and writes the file as a new version, on condition of the one read.
 * A name keeps its place for ever. A backend that leaves the file takes nothing more first, and is out of it half a minute
 * later; one that still holds something leaves only when it may be parked.
 *
 * Rules: [one-fleet-file], [name-keeps-place], [leaving-backends]
 *
 * @throws ConfigError with every problem of the file; NotApplied with every problem of the backends; StoreError when the store refuses
 */
export async function apply(deps: ApplyDeps, given: FleetFile, options: ApplyOptions = {}): Promise<Applied> {
  const view = await readFleet(deps.store, deps.clock.now());
  const { file, found, now, warnings } = await examine(deps, view, given, options);
  for (const warning of warnings) deps.log.warn('The fleet file is applied with a warning', { warning });
  const fleetId = await fleetIdOf(deps, view, file, options);
  const states = found.map(({ outcome }) => outcome);
  // Tables that another copy of them is still at work on are told from these by a start of their own.
  if (states.includes('taken-over')) await addStart(deps, now);
  const capabilities = await claimAll(deps, view, file, fleetId, states);
  const { version, parked } = await putInForce(deps, view, { file, given, fleetId, capabilities }, options);
  return { version, fleetId, capabilities, warnings, parked };
}

/** What a file would change, and what a person should know of it; nothing is written. Throws as `apply` would. */
export async function planApply(
  deps: ApplyDeps,
  given: FleetFile,
  options: ApplyOptions = {},
): Promise<{ readonly before: FleetFile | null; readonly warnings: readonly string[] }> {
  const view = await readFleet(deps.store, deps.clock.now());
  const { warnings } = await examine(deps, view, given, options);
  return { before: view.config?.file ?? null, warnings };
}

/** Looks at everything before anything is claimed: a refused file leaves no trace. */
async function examine(deps: ApplyDeps, view: FleetView, given: FleetFile, options: ApplyOptions) {
  const now = deps.clock.now();
  const file = isRollback(view, given, options) ? withNeededKeys(view, given, now) : given;
  const found = await Promise.all(file.backends.map((config) => inspectBucket(deps, view, config, options)));
  const inTheWay = found.flatMap((bucket) => (bucket.outcome === 'problem' ? [bucket.sentence] : []));
  const ofFile = [...problemsOfFile(view, file), ...problemsOfKeys(view, file, deps.env ?? {}, now)];
  const isTakenOver = found.some(({ outcome }) => outcome === 'taken-over');
  refuse(ofFile, [...problemsOfLeaving(view, given, options, isTakenOver), ...inTheWay]);
  const silent = file.backends.filter((_, i) => found[i]!.outcome === 'unreachable');
  const warnings = [
    ...(await warningsOfFile(deps.store, view, file)),
    ...missingKeys(view, file),
    ...silent.map(({ name }) => `Backend "${name}" does not answer: it keeps the capabilities it had`),
  ];
  return { file, found, now, warnings };
}

type States = readonly Awaited<ReturnType<typeof inspectBucket>>['outcome'][];

async function claimAll(
  deps: ApplyDeps,
  view: FleetView,
  file: FleetFile,
  fleetId: string,
  states: States,
): Promise<Record<string, Capabilities>> {
  const capabilities: Record<string, Capabilities> = {};
  const problems: string[] = [];
  for (const [i, config] of file.backends.entries()) {
    try {
      capabilities[config.name] = await claimBucket(deps, view, config, fleetId, states[i]!);
    } catch (error) {
      problems.push(sentenceOf(error));
    }
  }
  refuse([], problems);
  return capabilities;
}

function refuse(ofFile: readonly string[], ofMoment: readonly string[]): void {
  if (ofFile.length > 0) throw new ConfigError('The fleet file cannot be applied', [...ofFile, ...ofMoment]);
  if (ofMoment.length > 0) throw new NotApplied(ofMoment);
}
