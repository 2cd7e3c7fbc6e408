import { createHash } from 'node:crypto';
import { type FleetFile, maxKeyBytes } from '../../config/fleet-file.ts';
import { type Fingerprint, fingerprintOf, fingerprintsOverlap } from '../../config/place.ts';
import type { FleetView } from '../../store/fleet-view.ts';
import { shards } from '../../store/keys.ts';
import type { Store } from '../../store/port.ts';

/** Everything in a fleet file that the fleet as it is does not allow, whoever applies it and when. Pure. */
export function problemsOfFile(view: FleetView, file: FleetFile): string[] {
  return [...movedPlaces(view, file), ...takenPlaces(view, file)];
}

/**
 * A name stands for one place for ever. Whoever read an older file would else write to the old place and record it as the
 * new one.
 */
function movedPlaces(view: FleetView, file: FleetFile): string[] {
  const known = new Map(Object.entries(view.config?.fingerprints ?? {}));
  return file.backends.flatMap((backend) => {
    const before = known.get(backend.name);
    const now = fingerprintOf(backend);
    if (before === undefined || isSamePlace(before, now)) return [];
    const { name } = backend;
    return [
      `Backend "${name}" is bound to ${placeText(before)}; it cannot become ${placeText(now)}: another place needs another name`,
    ];
  });
}

/** No other backend may reach into a place that a name in force has, or one that left and still holds something. */
function takenPlaces(view: FleetView, file: FleetFile): string[] {
  const holding = new Set(view.namedBackends());
  const inForce = new Set(view.config?.file.backends.map(({ name }) => name));
  const takers = Object.entries(view.config?.fingerprints ?? {}).filter(
    ([name]) => holding.has(name) || inForce.has(name),
  );
  return file.backends.flatMap((backend) => {
    const now = fingerprintOf(backend);
    return takers
      .filter(([name, before]) => name !== backend.name && fingerprintsOverlap(before, now))
      .filter(([name]) => !file.backends.some((other) => other.name === name))
      .map(([name, before]) => {
        const why = holding.has(name) ? 'still holds objects' : 'is in the fleet file in force';
        return `Backend "${backend.name}" at ${placeText(now)} overlaps "${name}", which ${why} at ${placeText(before)}`;
      });
  });
}

function isSamePlace(a: Fingerprint, b: Fingerprint): boolean {
  return a.endpoint === b.endpoint && a.bucket === b.bucket && a.prefix === b.prefix;
}

function placeText({ endpoint, bucket, prefix }: Fingerprint): string {
  return `${endpoint} bucket "${bucket}" prefix "${prefix}"`;
}

/** What a person should know before a file is put in force; none of it keeps it from being applied. */
export async function warningsOfFile(
  store: Pick<Store, 'byKey'>,
  view: FleetView,
  file: FleetFile,
): Promise<readonly string[]> {
  return [...quotasBelowUsed(view, file), ...(await keysTooLong(store, view, file))];
}

function quotasBelowUsed(view: FleetView, file: FleetFile): string[] {
  return file.backends.flatMap(({ name, quotaBytes }) => {
    const used = view.usedBytes(name);
    if (quotaBytes === 0 || used <= quotaBytes) return [];
    return [`Backend "${name}" holds ${used} bytes, more than its quota of ${quotaBytes}: it takes nothing more`];
  });
}

const pageSize = 1_000;

/** The keys are walked only where a new prefix leaves less room for them than there was. */
async function keysTooLong(store: Pick<Store, 'byKey'>, view: FleetView, file: FleetFile): Promise<string[]> {
  const before = view.config === null ? undefined : maxKeyBytes(view.config.file);
  const most = maxKeyBytes(file);
  if (before === undefined || most >= before) return [];
  let count = 0;
  let example = '';
  for (const shard of shards) {
    let after: string | undefined;
    do {
      const page = await store.byKey(shard, after, pageSize);
      for (const key of page.items) {
        if (Buffer.byteLength(key) <= most) continue;
        count += 1;
        example ||= key;
      }
      after = page.next;
    } while (after !== undefined);
  }
  if (count === 0) return [];
  return [
    `${count} objects have keys of more than ${most} bytes, too long for the longest prefix, e.g. ${JSON.stringify(example)}: they stay where they are`,
  ];
}

/** Tells one fleet file from another, as they were given. */
export function digestOfFile(file: FleetFile): string {
  return createHash('sha256').update(JSON.stringify(file)).digest('hex');
}
