import { createHash } from 'node:crypto';
import { defined } from '../../lib/base/defined.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import { parameters } from '../../lib/config/parameters.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import type { Faults } from './faults.ts';
import type { Random } from './random.ts';

const names = ['b2', 'oci', 'r2', 'wasabi', 'ceph'];

/**
 * Object keys of two shards only, so that a tick over part 3 of 8 meets all of them and asks an eighth of the lanes.
 * Among them: two policies, keys that look like storage keys, and one that is not ASCII.
 */
const shardsUsed = new Set([3, 11]);
export const workingPart = { part: 3, of: 8 };
const keyPool = [
  ...inShards(40, (i) => `doc/${i}`),
  ...inShards(20, (i) => `p/${i}`),
  ...inShards(2, (i) => `x${i}!01ARZ3NDEKTSV4RRFFQ69G5FAV`),
  ...inShards(2, (i) => `ключ ${i}`),
];

function inShards(count: number, name: (i: number) => string): string[] {
  const found: string[] = [];
  for (let i = 0; found.length < count; i += 1) {
    const shard = createHash('sha256').update(name(i)).digest()[0]! & 15;
    if (shardsUsed.has(shard)) found.push(name(i));
  }
  return found;
}

// Objects here are small, so that a history is fast: parts must be smaller still. What S3 demands of parts the in-memory implementation demands.
for (const name of ['MULTIPART_ABOVE_BYTES', 'PART_BYTES']) Object.assign(parameters[name]!, { min: 1 });

/** What a history is played on. */
export interface Plan {
  readonly file: FleetFile;
  /** The same file with links so slow that reading an object outlasts a tick; absent where none is. */
  readonly slowed?: FleetFile;
  readonly keys: readonly string[];
  /** Buckets in which external clients keep files of their own, to be imported. */
  readonly imported: readonly string[];
  /** Whether its tables are put back to an earlier moment in the end. */
  readonly isRestored: boolean;
  /** Keys of theirs beside those of the plan. */
  readonly externalKeys: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** How late indexes may be, in milliseconds. */
  readonly maxLagMs: number;
  readonly maxObjectBytes: number;
  readonly chaosSteps: number;
  /** What each bucket can do, where that is not everything. */
  readonly capabilities: Readonly<Record<string, Capabilities>>;
}

export interface PlanDeps {
  readonly random: Random;
  /** A stream of its own for each purpose. */
  readonly stream: (purpose: string) => Random;
  readonly faults: Faults;
}

export function createPlan({ random, stream, faults }: PlanDeps): Plan {
  // Neighbouring backends are buckets at one endpoint: its storage copies from one to the other by itself.
  const areNeighbours = stream('neighbours').chance(0.3);
  const count = random.between(3, names.length);
  const maxObjectBytes = random.pick([60, 400, 3000]);
  const objects = random.between(12, 16);
  const isTight = faults.isOn('tight quota');
  if (faults.isOn('index lag')) faults.count('index lag');
  const endpointOf = (name: string) => `https://${areNeighbours ? 's3' : name}.example.com`;
  const classes = stream('request classes');
  const prices = stream('prices');
  const limitsOf = () =>
    faults.isOn('tight usage limit') ? tightLimits({ random, classes, prices, faults }, maxObjectBytes * objects) : {};
  const file = fleetFile(random, names.slice(0, count), endpointOf, maxObjectBytes, limitsOf, (name) => {
    if (!isTight || name === names[0]) return random.chance(0.2) ? 10_000_000 : 0;
    faults.count('tight quota');
    return Math.round(maxObjectBytes * objects * random.pick([0.1, 0.3, 1]));
  });
  const keys = random.shuffled(keyPool).slice(0, objects);
  const imported = faults.isOn('buckets imported') && random.chance(0.5) ? importedOf(random, file, faults) : [];
  const isRestored = faults.isOn('metadata restored') && imported.length === 0 && random.chance(0.4);
  const spread = spreading(encrypting(file, stream('encryption'), faults), stream('labels'), faults);
  const inForce = keeping(spread, stream('graces'), faults);
  return {
    file: inForce,
    ...defined({ slowed: slowLinks(inForce, stream('links'), faults, maxObjectBytes) }),
    keys,
    imported,
    isRestored,
    externalKeys: [
      ...inShards(1, (i) => `holiday${i}.jpg`),
      // Looks like a storage key of ours.
      ...inShards(1, (i) => `${keys[0]}!01BX5ZZKBKACTAV9WEVGEMMV${String(i).padStart(2, '0')}`),
      ...(imported.length === 0 ? [] : inShards(2, (i) => `album/${i} é.jpg`)),
      ...(imported.length === 0 ? [] : inShards(1, (i) => `${i}/${'long'.repeat(250)}`)),
    ],
    env: Object.freeze({
      RECONCILER_IMPORT: String(imported.length > 0),
      LEDGER_STRIPES: String(random.between(1, 3)),
      REPLICATOR_BATCH_SIZE: String(random.pick([1, 3, 50])),
      REPLICATOR_CONCURRENCY: String(random.pick([1, 2, 5])),
      CLEANUP_QUEUE_BATCH_SIZE: String(random.pick([1, 3, 50])),
      CLEANUP_QUEUE_CONCURRENCY: String(random.pick([1, 4])),
      PENDING_REAPER_BATCH_SIZE: String(random.pick([1, 50])),
      PENDING_REAPER_CONCURRENCY: String(random.pick([1, 4])),
      REBALANCER_STRATEGY: random.pick(['pack', 'spread']),
      SCRUBBER_CYCLE_DAYS: '1',
      SCRUBBER_BATCH_SIZE: String(random.pick([2, 100])),
      RECONCILER_MIN_AGE_SECONDS: random.pick(['0', '0', '60', '3600']),
      RECONCILER_BATCH_SIZE: String(random.pick([5, 10, 1000])),
      BREAKER_FAILURES: String(random.pick([1, 2, 5])),
      ...bigObjects(random, maxObjectBytes),
      MAX_BYTES_IN_FLIGHT: String(random.pick([100, 1000, 134217728])),
    }),
    maxLagMs: faults.isOn('index lag') ? random.spread(100, 60_000) : 0,
    maxObjectBytes,
    chaosSteps: random.between(300, 500),
    capabilities: Object.fromEntries(file.backends.map(({ name }) => [name, capabilitiesOf(random, faults)])),
  };
}

/** In one history of ten some backends give so few bytes a second that the largest object takes half a minute or three. */
function slowLinks(file: FleetFile, random: Random, faults: Faults, largest: number): FleetFile | undefined {
  if (!random.chance(0.1)) return undefined;
  faults.count('slow links');
  const rate = () => Math.max(1, Math.round(largest / random.pick([30, 180])));
  const backends = file.backends.map((backend) =>
    random.chance(0.6) ? { ...backend, maxBytesPerSecond: rate() } : backend,
  );
  return { ...file, backends };
}

/** Some policies encrypt what is put, where that is on. */
function encrypting(file: FleetFile, random: Random, faults: Faults): FleetFile {
  if (!faults.isOn('contents encrypted') || random.chance(0.3)) return file;
  faults.count('contents encrypted');
  const { default: usual, wide } = file.policies as Record<'default' | 'wide', FleetFile['policies'][string]>;
  return {
    ...file,
    encryption: { rawKeyEnv: 'KEY_1' },
    policies: { default: { ...usual, encrypt: random.chance(0.4) }, wide: { ...wide, encrypt: true } },
  };
}

/** Some policies keep copies apart by a label, or off one backend, where that is on. */
function spreading(file: FleetFile, random: Random, faults: Faults): FleetFile {
  if (!faults.isOn('copies spread')) return file;
  faults.count('copies spread');
  const [first, ...others] = file.backends.map((backend, i) => {
    return { ...backend, labels: { provider: i === 0 ? 'p' : random.pick(['p', 'q', 'q', 'r']) } };
  });
  const { default: usual, wide } = file.policies as Record<'default' | 'wide', FleetFile['policies'][string]>;
  const apart = () => (random.chance(0.7) ? { spreadOver: 'provider' } : {});
  const elsewhere = random.chance(0.3) ? { excludeBackends: [random.pick(others).name] } : {};
  return {
    ...file,
    backends: [first!, ...others],
    policies: { default: { ...usual, ...apart() }, wide: { ...wide, ...apart(), ...elsewhere } },
  };
}

/** What is deleted or overwritten can be brought back for a while, where that is on. */
function keeping(file: FleetFile, random: Random, faults: Faults): FleetFile {
  if (!faults.isOn('brought back')) return file;
  const policies = Object.entries(file.policies).map(([name, policy]) => {
    const deleteGraceHours = random.pick([0, 0.5, 6, 24]);
    return [name, { ...policy, deleteGraceHours }];
  });
  return { ...file, policies: Object.fromEntries(policies) };
}

/** The same fleet, in which one policy keeps copies apart that did not, or no longer does. */
export function spreadOtherwise(file: FleetFile): FleetFile {
  const { spreadOver, ...wide } = file.policies.wide!;
  const changed = spreadOver === undefined ? { ...wide, spreadOver: 'provider' } : wide;
  return { ...file, policies: { ...file.policies, wide: changed } };
}

/** The same fleet without one backend. */
export function withoutBackend(file: FleetFile, name: string | null): FleetFile {
  const policies = Object.entries(file.policies).map(([policy, rule]) => {
    const { excludeBackends, ...others } = rule;
    const left = (excludeBackends ?? []).filter((one) => one !== name);
    return [policy, left.length === 0 ? others : { ...others, excludeBackends: left }];
  });
  return {
    ...file,
    backends: file.backends.filter((backend) => backend.name !== name),
    policies: Object.fromEntries(policies),
  };
}

function importedOf(random: Random, file: FleetFile, faults: Faults): string[] {
  faults.count('buckets imported');
  const names = random.shuffled(file.backends.map(({ name }) => name));
  return names.slice(0, random.between(1, names.length));
}

/**
 * Some buckets keep versions: a DELETE that names none leaves the bytes there, under a delete marker. Some know no
 * conditional DELETE.
 */
function capabilitiesOf(random: Random, faults: Faults): Capabilities {
  const conditionalDelete = random.chance(0.8);
  // Another order than by bytes: a listing can only be gone on with by its tokens.
  const listsInByteOrder = random.chance(0.7);
  if (!faults.isOn('versions kept') || !random.chance(0.6)) return { conditionalDelete, listsInByteOrder };
  faults.count('versions kept');
  return { conditionalDelete, listsInByteOrder, keepsVersions: true };
}

/** In some histories most objects are written and copied in parts. */
function bigObjects(random: Random, maxObjectBytes: number): Record<string, string> {
  if (random.chance(0.6)) return {};
  // A dozen parts show what hundreds would.
  const partBytes = Math.max(10, Math.round(maxObjectBytes / random.pick([2, 5, 12])));
  return { MULTIPART_ABOVE_BYTES: String(random.pick([partBytes, 100])), PART_BYTES: String(partBytes) };
}

interface Drawn {
  readonly random: Random;
  readonly classes: Random;
  readonly prices: Random;
  readonly faults: Faults;
}

/** What a month allows on one backend, of `bytes` that all objects have together. */
function tightLimits({ random, classes, prices, faults }: Drawn, bytes: number): object {
  if (random.chance(0.4)) return {};
  faults.count('tight usage limit');
  const some = () => (random.chance(0.5) ? Math.round(bytes * random.pick([0.1, 0.3, 1, 3])) : 0);
  const requests = random.chance(0.3) ? random.pick([30, 100, 300]) : 0;
  const classA = classes.chance(0.4) ? classes.pick([10, 30, 100]) : 0;
  const isPriced = prices.chance(0.3);
  const limits = {
    requests,
    classA,
    egressBytes: some(),
    ingressBytes: some(),
    usd: isPriced ? prices.pick([1, 4]) : 0,
  };
  const zone = classes.pick(['UTC', 'America/Los_Angeles', 'Asia/Kolkata', 'Pacific/Chatham']);
  const limitsReset = { zone, hour: classes.pick([0, 0, 7, 23]) };
  const asked = isPriced ? { usdPerMillionA: 50_000, usdPerMillionB: prices.pick([0, 10_000]) } : {};
  return { ...asked, limitsReset, ...(classes.chance(0.5) ? { limits } : { dailyLimits: limits }) };
}

function fleetFile(
  random: Random,
  backends: readonly string[],
  endpointOf: (name: string) => string,
  largest: number,
  limitsOf: () => object,
  quotaOf: (name: string) => number,
): FleetFile {
  const most = backends.length - 1;
  return parseFleetFile({
    backends: backends.map((name) => ({
      name,
      endpoint: endpointOf(name),
      bucket: `${name}-bucket`,
      credentials: 'role',
      events: true,
      quotaBytes: quotaOf(name),
      maxObjectBytes: name !== backends[0] && random.chance(0.1) ? largest / 2 : 0,
      egressUsdPerGb: random.pick([0, 0.01, 0.09]),
      ...limitsOf(),
    })),
    policies: {
      default: { factor: random.between(1, Math.min(3, most)) },
      wide: { prefix: 'p/', factor: random.between(1, most) },
    },
    routing: random.pick(['pack', 'spread']),
  });
}

/** The same fleet with a new key that encrypts; what was encrypted before can still be read. */
export function rotatedFile(file: FleetFile, key: string): FleetFile {
  const { rawKeyEnv, decryptOnly = [] } = file.encryption!;
  return { ...file, encryption: { rawKeyEnv: key, decryptOnly: [{ rawKeyEnv: rawKeyEnv! }, ...decryptOnly] } };
}

/** The same fleet without a key that decrypts: to be refused while anything names it. */
export function withoutKey(file: FleetFile, key: string): FleetFile {
  const { decryptOnly = [], ...encryption } = file.encryption!;
  const left = decryptOnly.filter((one) => !('rawKeyEnv' in one) || one.rawKeyEnv !== key);
  return { ...file, encryption: { ...encryption, decryptOnly: left } };
}

/** The same fleet with other factors and other quotas, as an operator might apply it. */
export function changedFile(file: FleetFile, random: Random): FleetFile {
  const factor = () => random.between(1, file.backends.length - 1);
  const quotaOf = (bytes: number) => Math.round(bytes * random.pick([0.5, 1, 1, 2]));
  return {
    ...file,
    backends: file.backends.map((backend) => ({ ...backend, quotaBytes: quotaOf(backend.quotaBytes) })),
    policies: {
      ...file.policies,
      default: { ...file.policies.default!, factor: factor() },
      wide: { ...file.policies.wide!, factor: factor() },
    },
  };
}
