import type { Clock } from '../base/clock.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { type Backend, BackendError, type Capabilities } from '../fleet/backend.ts';
import { ownershipProblem } from '../fleet/ownership-problem.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import type { Store } from '../store/port.ts';
import { ownershipOf } from '../transfer/ownership.ts';
import { withSettings } from './apply/buckets.ts';
import { brokenPromise } from './apply/promises.ts';
import { withReason } from './ask-for-reason.ts';
import { encryptingPolicies } from './import-warnings.ts';

/** What `doctor` needs from the process it runs in. */
export interface DoctorDeps {
  readonly store: Store;
  readonly clock: Clock;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
  findCapabilities(config: BackendConfig): Promise<Capabilities>;
}

/** One thing looked at. */
export interface Finding {
  readonly subject: string;
  readonly level: 'ok' | 'warning' | 'problem';
  readonly sentence: string;
}

/**
 * Looks at everything that must be so for a fleet to work: tables, configuration, each backend's bucket, owner and abilities,
 * breakers, dead deletions, damaged objects. Changes nothing but the capability checks' own small objects.
 */
export async function doctor(deps: DoctorDeps): Promise<Finding[]> {
  const view = await readFleet(deps.store, deps.clock.now());
  if (view.config === null)
    return [
      {
        subject: 'fleet',
        level: 'problem',
        sentence:
          'No fleet file is in force in these tables: run `holdfast init`, or check AWS_REGION and the names of the tables',
      },
    ];
  const findings: Finding[] = [
    { subject: 'fleet', level: 'ok', sentence: `Version ${view.config.version} of the fleet file is in force` },
  ];
  for (const config of view.config.file.backends) findings.push(...(await examineBackend(deps, view, config)));
  return [...findings, ...examineLedger(view)];
}

async function examineBackend(deps: DoctorDeps, view: FleetView, config: BackendConfig): Promise<Finding[]> {
  const { name } = config;
  const say = (level: Finding['level'], sentence: string): Finding => ({ subject: name, level, sentence });
  try {
    const backend = await deps.openBackend(config, view.capabilities(name) as Capabilities, 'read-write');
    const { fleetId } = view.config!;
    const found = await withReason(backend, () => ownershipOf(deps.store, view, fleetId, backend));
    const problem = ownershipProblem({ fleetId, backend: name }, found);
    if (problem !== null) return [say('problem', problem)];
    const can = withSettings(await deps.findCapabilities(config), config);
    const lacks = lacking(can);
    const findings = [say('ok', 'The bucket answers, is ours and stores what it is sent')];
    const broken = brokenPromise(can, config);
    if (broken !== null) findings.push(say('problem', broken));
    if (lacks.length > 0) findings.push(say('warning', `It cannot: ${lacks.join(', ')}`));
    const limits = limitsOf(can);
    if (limits.length > 0)
      findings.push(say('warning', `It takes at most ${limits.join(', ')}: larger ones stay elsewhere`));
    if (can.keepsVersions)
      findings.push(
        say('warning', 'The bucket keeps versions: every version of our keys is deleted, and until then paid for'),
      );
    if (JSON.stringify(sorted(can)) !== JSON.stringify(sorted(view.capabilities(name)))) {
      findings.push(say('warning', 'What it can do has changed since the file was applied: run `holdfast apply`'));
    }
    if (view.breaker(name)?.openedAt !== undefined)
      findings.push(
        say(
          'warning',
          `Its breaker is open: the next tick with work there asks it; \`holdfast probe ${name}\` does now`,
        ),
      );
    return findings;
  } catch (error) {
    if (error instanceof BackendError) return [say('problem', error.message)];
    throw error;
  }
}

function lacking(can: Capabilities): string[] {
  const words: Partial<Record<keyof Capabilities, string>> = {
    conditionalPut: 'conditional PUT',
    conditionalDelete: 'conditional DELETE (imported files are left behind when their object is deleted)',
    checksumSha256: 'SHA-256 checks on arrival',
    bulkDelete: 'bulk deletes',
    listsInByteOrder: 'listing in byte order (the reconciler cannot see what is missing; the scrubber does)',
    startsAfterKeys: 'listing behind a key (a pass over it goes from one end to the other, in one part)',
    listsHeadEtags: 'telling the same ETag in a listing as of a HEAD (imported files are looked up one by one)',
    tags: 'object tags (none are kept there, and none are copied from there, whatever PRESERVE_TAGS says)',
    keepsHeaders: 'keeping Content-Type and its like as they were sent (copies with other headers stay elsewhere)',
    takesDotSegments: 'taking keys with "." or ".." between slashes (they stay elsewhere)',
    takesEmptySegments: 'taking keys with nothing between two slashes (they stay elsewhere)',
    takesTrailingSlash: 'taking keys with bytes that end in a slash (no storage key does)',
    takesBackslashes: 'taking keys with backslashes (they stay elsewhere)',
    takesControlCharacters: 'taking keys with control characters (they stay elsewhere)',
    takesNestedKeys: 'taking a key below another (no storage key is)',
    discardsTruncated: 'discarding what breaks off (the cleanup queue does)',
    namesGoneUploads: 'saying that an upload is gone (its parts are listed first)',
  };
  return Object.entries(words).flatMap(([ability, word]) =>
    can[ability as keyof Capabilities] === true ? [] : [word],
  );
}

/** The limits that are narrower than S3's own. */
function limitsOf({ maxParts, metadataBytes, maxKeyBytes, maxSegmentBytes }: Capabilities): string[] {
  const limits: readonly [number | undefined, number, string][] = [
    [maxParts, 10_000, 'parts in one upload'],
    [metadataBytes, 2048, 'bytes of user metadata'],
    [maxKeyBytes, 1024, 'bytes in a key'],
    [maxSegmentBytes, 900, 'bytes between two slashes of a key'],
  ];
  return limits.flatMap(([limit, usual, what]) => (limit !== undefined && limit < usual ? [`${limit} ${what}`] : []));
}

function sorted(can: Readonly<Record<string, unknown>> | Capabilities): unknown {
  return Object.entries(can).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A policy encrypts what is put: whoever reads it otherwise should know what other providers see. */
function unencryptedImports(view: FleetView): Finding[] {
  return encryptingPolicies(view.config!.file).flatMap((policy): Finding[] => {
    const plain = view.placements.filter((one) => one.policy === policy && one.copies.some(({ isPlain }) => isPlain));
    const objects = plain.reduce((sum, { count }) => sum + count.objects, 0);
    if (objects === 0) return [];
    return [
      {
        subject: 'objects',
        level: 'warning',
        sentence: `${objects} of policy "${policy}", which encrypts what is put, were imported: neither they nor their copies are encrypted; \`put\` them again to encrypt them`,
      },
    ];
  });
}

function examineLedger(view: FleetView): Finding[] {
  const findings: Finding[] = [];
  const configured = new Set(view.config!.file.backends.map((b) => b.name));
  for (const name of view.namedBackends()) {
    const dead = view.queue('dead', name).objects;
    if (dead > 0)
      findings.push({
        subject: name,
        level: 'problem',
        sentence: `${dead} deletions were given up: \`holdfast queue dead\` lists them`,
      });
    if (!configured.has(name))
      findings.push({
        subject: name,
        level: 'warning',
        sentence:
          'It holds objects and is not in the fleet file: its copies cannot be read; put it back, or give it up with `holdfast forget`',
      });
  }
  findings.push(...unencryptedImports(view));
  const damaged = view.placements.filter((p) => p.condition === 'damaged').reduce((sum, p) => sum + p.count.objects, 0);
  if (damaged > 0)
    findings.push({
      subject: 'objects',
      level: 'problem',
      sentence: `${damaged} are damaged: no copy of them verifies; \`holdfast scrub <key>\` says what is wrong with each copy`,
    });
  return findings;
}
