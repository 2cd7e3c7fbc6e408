import { ConfigError } from './problems.ts';
import { type WorkerName, workerList, workerNames } from './workers.ts';

export { type WorkerName, workerNames } from './workers.ts';

type Kind = 'count' | 'seconds' | 'ratio' | 'flag' | 'text' | 'table' | 'days';

interface Parameter {
  readonly default: string;
  readonly kind: Kind;
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
  readonly about: string;
}

/** `over-replication-cleaner` → `OVER_REPLICATION_CLEANER`. */
export function parameterPrefix(worker: WorkerName): string {
  return worker.toUpperCase().replaceAll('-', '_');
}

function workerParameters(worker: WorkerName): Record<string, Parameter> {
  const { every, batch, concurrency, isOff = false } = workerList[worker];
  const p = parameterPrefix(worker);
  return {
    [`${p}_BATCH_SIZE`]: {
      default: String(batch),
      kind: 'count',
      min: 1,
      max: 10_000,
      about: `Items in one round of the ${worker}`,
    },
    [`${p}_CONCURRENCY`]: {
      default: String(concurrency),
      kind: 'count',
      min: 1,
      max: 256,
      about: `Most items the ${worker} works on at once; their bytes are bounded by MAX_BYTES_IN_FLIGHT`,
    },
    [`${p}_ROUNDS`]: {
      default: '0',
      kind: 'count',
      min: 0,
      max: 1_000_000,
      about: `Rounds in one tick of the ${worker}; 0 = no limit`,
    },
    [`${p}_DRY_RUN`]: { default: 'false', kind: 'flag', about: `The ${worker} plans and reports, and changes nothing` },
    [`${p}_SCHEDULE`]: {
      default: `rate(${every})`,
      kind: 'text',
      about: `When the ${worker} runs: an EventBridge Scheduler expression`,
    },
    [`${p}_ENABLED`]: { default: String(!isOff), kind: 'flag', about: `Whether the ${worker} is scheduled` },
    [`${p}_PARTS`]: {
      default: '1',
      kind: 'count',
      min: 1,
      max: 16,
      about: `Parallel ticks of the ${worker}, over disjoint shards`,
    },
  };
}

const shared: Record<string, Parameter> = {
  OBJECTS_TABLE: { default: 'holdfast-objects', kind: 'table', about: 'Name of the Objects table' },
  QUEUE_TABLE: { default: 'holdfast-queue', kind: 'table', about: 'Name of the Queue table' },
  CONTROL_TABLE: { default: 'holdfast-control', kind: 'table', about: 'Name of the Control table' },
  UNHEALTHY_AFTER_SECONDS: {
    default: '600',
    kind: 'seconds',
    min: 0,
    about: 'How long a breaker must have been open before the copies on that backend no longer count',
  },
  BREAKER_FAILURES: {
    default: '5',
    kind: 'count',
    min: 1,
    max: 1000,
    about: 'Consecutive failures that open a breaker',
  },
  BREAKER_OPEN_SECONDS: {
    default: '300',
    kind: 'seconds',
    min: 1,
    about: 'How long an open breaker waits before one probe (up to a quarter more)',
  },
  CLEANUP_QUEUE_GRACE_SECONDS: {
    default: '300',
    kind: 'seconds',
    min: 0,
    about: 'How long bytes that lost their record stay readable',
  },
  CLEANUP_QUEUE_CLAIM_GRACE_SECONDS: {
    default: '300',
    kind: 'seconds',
    min: 1,
    about: 'How long a claim on a queue item lasts',
  },
  CLEANUP_QUEUE_MAX_ATTEMPTS: {
    default: '10',
    kind: 'count',
    min: 1,
    max: 1000,
    about: 'Failed deletions before an item is dead',
  },
  PENDING_REAPER_MIN_AGE_SECONDS: {
    default: '300',
    kind: 'seconds',
    min: 1,
    about: 'How long an intent may be silent before the reaper settles it',
  },
  RECONCILER_MIN_AGE_SECONDS: {
    default: '3600',
    kind: 'seconds',
    min: 0,
    about: 'Younger keys are left alone by the reconciler',
  },
  RECONCILER_INTERVAL_HOURS: {
    default: '24',
    kind: 'count',
    min: 1,
    max: 8760,
    about: 'Hours from the beginning of a pass over a backend to that of the next; ticks in between carry it on',
  },
  RECONCILER_IMPORT: {
    default: 'false',
    kind: 'flag',
    about: 'Whether the reconciler imports keys that Holdfast did not write',
  },
  REMOVAL_LIMIT_RATIO: {
    default: '0.1',
    kind: 'ratio',
    about: "Share of a backend's copies that quarantines and sweeps may touch in a day",
  },
  REMOVAL_LIMIT_MIN_COUNT: {
    default: '20',
    kind: 'count',
    min: 0,
    max: 1_000_000,
    about: 'Removals a day on one backend that are always allowed',
  },
  REBALANCER_STRATEGY: { default: 'pack', kind: 'text', oneOf: ['pack', 'spread'], about: 'How the rebalancer plans' },
  REBALANCER_THRESHOLD: {
    default: '0.1',
    kind: 'ratio',
    about: 'Difference in utilisation from which the rebalancer runs',
  },
  SCRUBBER_CYCLE_DAYS: {
    default: '30',
    kind: 'days',
    min: 1,
    max: 3650,
    about: 'Days in which the scrubber reads every copy once',
  },
  SCRUB_ATTEST: {
    default: 'false',
    kind: 'flag',
    about: 'Whether an attested full-object SHA-256 counts as verified, without a download',
  },
  DRAIN_SETTLE_SECONDS: {
    default: '1200',
    kind: 'seconds',
    min: 0,
    about: 'Age a drain must have before it can be complete',
  },
  PRESERVE_TAGS: { default: 'false', kind: 'flag', about: 'Whether transfers carry object tags' },
  LEDGER_STRIPES: { default: '8', kind: 'count', min: 1, max: 64, about: 'Stripes of each ledger total' },
  STALE_EVENT_SECONDS: {
    default: '0',
    kind: 'seconds',
    min: 0,
    about: "Age from which a scheduled event is dropped; 0 = the worker's own period",
  },
  MAX_BYTES_IN_FLIGHT: {
    default: '134217728',
    kind: 'count',
    min: 1,
    max: 1099511627776,
    about: 'Bytes of objects a tick works on at once',
  },
  MULTIPART_ABOVE_BYTES: {
    default: '67108864',
    kind: 'count',
    min: 5_242_880,
    max: 5_368_709_120,
    about: 'Larger objects are written in parts, and copied over as many ticks as it takes',
  },
  PART_BYTES: {
    default: '8388608',
    kind: 'count',
    min: 5_242_880,
    max: 5_368_709_120,
    about: 'Smallest part of a multipart upload; objects of more than 9000 such parts have larger ones',
  },
};

/** Every parameter, its default and what it means: the one list that code, infrastructure and docs are made from. */
export const parameters: Readonly<Record<string, Parameter>> = Object.freeze({
  ...shared,
  ...Object.assign({}, ...workerNames.map(workerParameters)),
});

/** Tuning of one worker. */
export interface WorkerParameters {
  readonly batchSize: number;
  readonly concurrency: number;
  /** 0 = no limit. */
  readonly rounds: number;
  readonly dryRun: boolean;
  readonly schedule: string;
  readonly enabled: boolean;
  readonly parts: number;
}

export interface Parameters {
  readonly tables: { readonly objects: string; readonly queue: string; readonly control: string };
  readonly workers: Readonly<Record<WorkerName, WorkerParameters>>;
  readonly unhealthyAfterMs: number;
  readonly breakerFailures: number;
  readonly breakerOpenMs: number;
  readonly graceMs: number;
  readonly claimGraceMs: number;
  readonly maxAttempts: number;
  readonly reaperMinAgeMs: number;
  readonly reconcilerMinAgeMs: number;
  readonly reconcilerIntervalMs: number;
  readonly reconcilerImports: boolean;
  readonly removalLimitRatio: number;
  readonly removalLimitMinCount: number;
  readonly rebalancerStrategy: 'pack' | 'spread';
  readonly rebalancerThreshold: number;
  readonly scrubberCycleDays: number;
  readonly scrubAttests: boolean;
  readonly drainSettleMs: number;
  readonly preservesTags: boolean;
  readonly ledgerStripes: number;
  readonly staleEventMs: number;
  readonly maxBytesInFlight: number;
  readonly multipartAboveBytes: number;
  readonly partBytes: number;
}

type WorkerParameterNames = Readonly<Record<keyof WorkerParameters, string>>;

/** Put together once: every tick reads all of them. */
const workerParameterNames = Object.fromEntries(
  workerNames.map((worker) => {
    const p = parameterPrefix(worker);
    const names: WorkerParameterNames = {
      batchSize: `${p}_BATCH_SIZE`,
      concurrency: `${p}_CONCURRENCY`,
      rounds: `${p}_ROUNDS`,
      dryRun: `${p}_DRY_RUN`,
      schedule: `${p}_SCHEDULE`,
      enabled: `${p}_ENABLED`,
      parts: `${p}_PARTS`,
    };
    return [worker, names];
  }),
) as Record<WorkerName, WorkerParameterNames>;

/** That an operator has set nothing: the same object every time. */
export const noOverrides: Readonly<Record<string, string>> = Object.freeze({});

/** By environment and overrides, where neither can change any more. */
const readBefore = new WeakMap<object, WeakMap<object, Parameters>>();

/**
 * Reads the tuning parameters from environment variables, live overrides first. Variables of other programs are ignored.
 * Throws a `ConfigError` that lists every bad value. The result is frozen; of what is frozen itself it is read once.
 */
export function parseParameters(
  env: Readonly<Record<string, string | undefined>>,
  overrides: Readonly<Record<string, string>> = noOverrides,
): Parameters {
  if (!Object.isFrozen(env) || !Object.isFrozen(overrides)) return readParameters(env, overrides);
  const ofEnv = readBefore.get(env) ?? new WeakMap<object, Parameters>();
  const known = ofEnv.get(overrides) ?? readParameters(env, overrides);
  readBefore.set(env, ofEnv.set(overrides, known));
  return known;
}

function readParameters(
  env: Readonly<Record<string, string | undefined>>,
  overrides: Readonly<Record<string, string>>,
): Parameters {
  const problems: string[] = [];
  const read = (name: string): string => {
    const given = overrides[name] ?? env[name];
    if (given === undefined || given === '') return parameters[name]!.default;
    const problem = parameterProblem(name, given);
    if (problem !== null) problems.push(problem);
    return given;
  };
  const number = (name: string) => Number(read(name));
  const ms = (name: string) => number(name) * 1000;
  const flag = (name: string) => read(name) === 'true';
  const worker = (names: WorkerParameterNames): WorkerParameters => ({
    batchSize: number(names.batchSize),
    concurrency: number(names.concurrency),
    rounds: number(names.rounds),
    dryRun: flag(names.dryRun),
    schedule: read(names.schedule),
    enabled: flag(names.enabled),
    parts: number(names.parts),
  });
  const result: Parameters = {
    tables: { objects: read('OBJECTS_TABLE'), queue: read('QUEUE_TABLE'), control: read('CONTROL_TABLE') },
    workers: Object.fromEntries(workerNames.map((w) => [w, worker(workerParameterNames[w])])) as Record<
      WorkerName,
      WorkerParameters
    >,
    unhealthyAfterMs: ms('UNHEALTHY_AFTER_SECONDS'),
    breakerFailures: number('BREAKER_FAILURES'),
    breakerOpenMs: ms('BREAKER_OPEN_SECONDS'),
    graceMs: ms('CLEANUP_QUEUE_GRACE_SECONDS'),
    claimGraceMs: ms('CLEANUP_QUEUE_CLAIM_GRACE_SECONDS'),
    maxAttempts: number('CLEANUP_QUEUE_MAX_ATTEMPTS'),
    reaperMinAgeMs: ms('PENDING_REAPER_MIN_AGE_SECONDS'),
    reconcilerMinAgeMs: ms('RECONCILER_MIN_AGE_SECONDS'),
    reconcilerIntervalMs: number('RECONCILER_INTERVAL_HOURS') * 3_600_000,
    reconcilerImports: flag('RECONCILER_IMPORT'),
    removalLimitRatio: number('REMOVAL_LIMIT_RATIO'),
    removalLimitMinCount: number('REMOVAL_LIMIT_MIN_COUNT'),
    rebalancerStrategy: read('REBALANCER_STRATEGY') as 'pack' | 'spread',
    rebalancerThreshold: number('REBALANCER_THRESHOLD'),
    scrubberCycleDays: number('SCRUBBER_CYCLE_DAYS'),
    scrubAttests: flag('SCRUB_ATTEST'),
    drainSettleMs: ms('DRAIN_SETTLE_SECONDS'),
    preservesTags: flag('PRESERVE_TAGS'),
    ledgerStripes: number('LEDGER_STRIPES'),
    staleEventMs: ms('STALE_EVENT_SECONDS'),
    maxBytesInFlight: number('MAX_BYTES_IN_FLIGHT'),
    multipartAboveBytes: number('MULTIPART_ABOVE_BYTES'),
    partBytes: number('PART_BYTES'),
  };
  if (problems.length > 0) throw new ConfigError('The parameters have problems', problems);
  return Object.freeze(result);
}

/** What is wrong with a value for a parameter, or null. An unknown name is a problem too. */
export function parameterProblem(name: string, value: string): string | null {
  if (!Object.hasOwn(parameters, name)) return `"${name}" is not a parameter: \`holdfast settings\` lists them`;
  const p = parameters[name]!;
  const say = (allowed: string) => `${name} is "${value}"; it must be ${allowed}`;
  if (p.kind === 'flag') return value === 'true' || value === 'false' ? null : say('true or false');
  if (p.kind === 'table') return /^[A-Za-z0-9_.-]{3,255}$/.test(value) ? null : say('a DynamoDB table name');
  if (p.kind === 'text') {
    if (p.oneOf !== undefined) return p.oneOf.includes(value) ? null : say(p.oneOf.map((o) => `"${o}"`).join(' or '));
    return name.endsWith('_SCHEDULE') && scheduleMs(value) === null
      ? say('rate(n minutes|hours|days) or cron(…)')
      : null;
  }
  const n = /^\d+(\.\d+)?$/.test(value) ? Number(value) : Number.NaN;
  if (p.kind === 'ratio') return n >= 0 && n <= 1 ? null : say('a number from 0 to 1');
  const min = p.min ?? 0;
  const max = p.max ?? 365 * 24 * 3600;
  return Number.isInteger(n) && n >= min && n <= max ? null : say(`a whole number from ${min} to ${max}`);
}

const unitMs: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** The period of a `rate(…)` expression in milliseconds; 60 000 for any `cron(…)`; null when it is neither. */
export function scheduleMs(expression: string): number | null {
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(expression);
  if (rate !== null) return Number(rate[1]) > 0 ? Number(rate[1]) * unitMs[rate[2]!]! : null;
  return /^cron\([^()]+\)$/.test(expression) ? 60_000 : null;
}
