import { parseWaived, type Waived } from '../lib/config/endpoints.ts';
import { parameterPrefix, type WorkerName, workerNames } from '../lib/config/parameters.ts';
import { ConfigError } from '../lib/config/problems.ts';
import { workerList } from '../lib/config/workers.ts';
import { type AlarmName, alarmNames } from './alarm-names.ts';
import type { HoldfastFleetProps } from './props.ts';

/** What one worker's Lambda function gets. Its schedule and parts are tuning parameters. */
interface WorkerSize {
  readonly timeoutSeconds: number;
  readonly memoryMb: number;
}

interface Option {
  /** The property of the construct that says the same. */
  readonly prop: string;
  readonly default: string;
  readonly about: string;
  /** What is wrong with a value: the values allowed, in words. */
  readonly allows: (value: string) => true | string;
}

const flag = (value: string) => value === 'true' || value === 'false' || 'true or false';
const whole =
  (min: number, max: number, whose = '') =>
  (value: string) =>
    (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) ||
    `a whole number from ${min} to ${max}${whose && `, ${whose}`}`;
const oneOf =
  (...values: string[]) =>
  (value: string) =>
    values.includes(value) || values.join(' or ');
const anything = () => true as const;
const alarms = (value: string) =>
  list(value).every((name) => name === 'all' || (alarmNames as readonly string[]).includes(name)) ||
  `"all" or of ${alarmNames.join(', ')}`;
const list = (value: string) =>
  value
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

/** The retention times that CloudWatch Logs knows, in days. */
const retentions = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

function sizeOptions(worker: WorkerName): Record<string, Option> {
  const prefix = parameterPrefix(worker);
  return {
    [`${prefix}_TIMEOUT_SECONDS`]: {
      prop: `sizes.${worker}.timeoutSeconds`,
      default: String(workerList[worker].timeoutSeconds),
      about: `How long a tick of the ${worker} may take`,
      allows: whole(10, 900, "Lambda's limit"),
    },
    [`${prefix}_MEMORY_MB`]: {
      prop: `sizes.${worker}.memoryMb`,
      default: String(workerList[worker].memoryMb),
      about: `Memory of the ${worker}; CPU and network come with it`,
      allows: whole(128, 10_240, "Lambda's limit"),
    },
  };
}

/** Options of a deployment, beside the tuning parameters of the workers. From the CDK context or the environment. */
export const options: Readonly<Record<string, Option>> = {
  HOLDFAST_FLEET: {
    prop: 'fleet',
    default: '',
    about:
      'The fleet file: a path, or the JSON itself. There is no default: an example is not to be deployed by accident',
    allows: anything,
  },
  HOLDFAST_APPLY: {
    prop: 'appliesFleet',
    default: 'true',
    about:
      'Whether the deployment applies the fleet file, or leaves that to whoever invokes the function `<stack>-apply` afterwards',
    allows: flag,
  },
  HOLDFAST_STACK: {
    prop: 'name',
    default: 'holdfast',
    about: 'Name of the stack; functions, alarms and metrics carry it',
    // `<stack>-over-replication-cleaner` is the longest name of a function, and those have 64 characters.
    allows: (value) => /^[a-zA-Z][a-zA-Z0-9-]{0,38}$/.test(value) || 'a letter and up to 38 letters, digits and "-"',
  },
  HOLDFAST_TABLE_CAPACITY: {
    prop: 'capacity',
    default: 'on-demand',
    about: 'How the tables are paid: on-demand, or provisioned within the 25 + 25 units that are always free',
    allows: oneOf('on-demand', 'provisioned'),
  },
  HOLDFAST_DELETION_PROTECTION: {
    prop: 'deletionProtection',
    default: 'true',
    about: 'Whether the tables refuse to be deleted',
    allows: flag,
  },
  HOLDFAST_RESERVED_CONCURRENCY: {
    prop: 'reservesConcurrency',
    default: 'false',
    about: "Whether each worker reserves its parts out of the account's concurrency (new accounts have ten in all)",
    allows: flag,
  },
  HOLDFAST_LOG_RETENTION_DAYS: {
    prop: 'logRetentionDays',
    default: '30',
    about: 'How long logs are kept',
    allows: (value) =>
      retentions.includes(Number(value)) || `one of ${retentions.join(', ')} (CloudWatch Logs knows no others)`,
  },
  HOLDFAST_LOG: {
    prop: 'logLevel',
    default: 'info',
    about: 'From which level on log lines are written',
    allows: oneOf('debug', 'info', 'warn', 'error'),
  },
  HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: {
    prop: 'allowPrivateEndpoints',
    default: 'false',
    about: 'Backends, by comma, whose endpoints may be http, loopback, private or link-local; true: all of them',
    allows: (value) =>
      flag(value) === true ||
      list(value).every((name) => /^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) ||
      'true, false, or names of backends by comma',
  },
  HOLDFAST_KMS_KEY_ARNS: {
    prop: 'encryptionKeyArns',
    default: '',
    about: 'KMS keys, by comma, that protect secrets or buckets named in the fleet file',
    allows: (value) =>
      list(value).every((arn) => /^arn:[^:]+:kms:[^:]+:\d{12}:key\/[^*]+$/.test(arn)) || 'ARNs of KMS keys, by comma',
  },
  HOLDFAST_ALARM_EMAIL: {
    prop: 'alarms.email',
    default: '',
    about: 'Where alarms are mailed; empty: only to the SNS topic',
    allows: (value) => value === '' || /^[^@\s,]+@[^@\s,]+\.[^@\s,]+$/.test(value) || 'one e-mail address',
  },
  HOLDFAST_ALARMS_OFF: {
    prop: 'alarms.off',
    default: '',
    about: 'Alarms left out, by comma; "all" for every one',
    allows: alarms,
  },
  HOLDFAST_ALARM_REPLICATION_LAG_SECONDS: {
    prop: 'alarms.replicationLagSeconds',
    default: '900',
    about: 'Objective: how long an object may wait for its last copy',
    allows: whole(60, 2_592_000),
  },
  HOLDFAST_ALARM_QUEUE_AGE_SECONDS: {
    prop: 'alarms.queueAgeSeconds',
    default: '3600',
    about: 'How long a queue item may be overdue',
    allows: whole(60, 2_592_000),
  },
  HOLDFAST_ALARM_BREAKER_OPEN_SECONDS: {
    prop: 'alarms.breakerOpenSeconds',
    default: '1800',
    about: 'How long a breaker may be open',
    // A window of an alarm with periods of five minutes is at most a day.
    allows: whole(300, 86_400, 'the longest window of an alarm'),
  },
  HOLDFAST_ALARM_USED_RATIO: {
    prop: 'alarms.usedRatio',
    default: '0.9',
    about: 'How full a quota may be',
    allows: (value) => (/^(0?\.\d+|1(\.0+)?)$/.test(value) && Number(value) > 0) || 'a number above 0, up to 1',
  },
  HOLDFAST_DASHBOARD: { prop: 'dashboard', default: 'true', about: 'Whether there is a dashboard', allows: flag },
  ...Object.assign({}, ...workerNames.map(sizeOptions)),
};

/** A deployment as its options say. */
export interface Deployment {
  readonly stackName: string;
  readonly isProvisioned: boolean;
  readonly isProtected: boolean;
  readonly reservesConcurrency: boolean;
  readonly logRetentionDays: number;
  readonly logLevel: string;
  readonly appliesFleet: boolean;
  readonly allowsPrivateEndpoints: Waived;
  readonly kmsKeyArns: readonly string[];
  readonly alarmEmail: string;
  readonly alarmsOff: readonly string[];
  readonly lagSeconds: number;
  readonly queueAgeSeconds: number;
  readonly breakerOpenSeconds: number;
  readonly usedRatio: number;
  readonly hasDashboard: boolean;
  readonly sizes: Readonly<Record<WorkerName, WorkerSize>>;
}

/**
 * Reads the options of a deployment. Throws a `ConfigError` that lists every bad value, each under the name by which it was
 * given: its option, or the property of the construct.
 */
export function parseDeployment(
  given: Readonly<Record<string, string>>,
  givenAs: 'option' | 'prop' = 'option',
): Deployment {
  const problems = Object.entries(options).flatMap(([name, { allows, prop }]) => {
    const verdict = allows(given[name] ?? options[name]!.default);
    return verdict === true ? [] : [`${givenAs === 'prop' ? prop : name} is "${given[name]}"; it must be ${verdict}`];
  });
  if (problems.length > 0) throw new ConfigError('The deployment has problems', problems);
  const read = (name: string) => given[name] ?? options[name]!.default;
  const number = (name: string) => Number(read(name));
  const isOn = (name: string) => read(name) === 'true';
  return {
    stackName: read('HOLDFAST_STACK'),
    isProvisioned: read('HOLDFAST_TABLE_CAPACITY') === 'provisioned',
    isProtected: isOn('HOLDFAST_DELETION_PROTECTION'),
    reservesConcurrency: isOn('HOLDFAST_RESERVED_CONCURRENCY'),
    logRetentionDays: number('HOLDFAST_LOG_RETENTION_DAYS'),
    logLevel: read('HOLDFAST_LOG'),
    appliesFleet: isOn('HOLDFAST_APPLY'),
    allowsPrivateEndpoints: parseWaived(read('HOLDFAST_ALLOW_PRIVATE_ENDPOINTS')),
    kmsKeyArns: list(read('HOLDFAST_KMS_KEY_ARNS')),
    alarmEmail: read('HOLDFAST_ALARM_EMAIL'),
    alarmsOff: list(read('HOLDFAST_ALARMS_OFF')),
    lagSeconds: number('HOLDFAST_ALARM_REPLICATION_LAG_SECONDS'),
    queueAgeSeconds: number('HOLDFAST_ALARM_QUEUE_AGE_SECONDS'),
    breakerOpenSeconds: number('HOLDFAST_ALARM_BREAKER_OPEN_SECONDS'),
    usedRatio: number('HOLDFAST_ALARM_USED_RATIO'),
    hasDashboard: isOn('HOLDFAST_DASHBOARD'),
    sizes: Object.fromEntries(
      workerNames.map((worker) => {
        const prefix = parameterPrefix(worker);
        return [
          worker,
          { timeoutSeconds: number(`${prefix}_TIMEOUT_SECONDS`), memoryMb: number(`${prefix}_MEMORY_MB`) },
        ];
      }),
    ) as Record<WorkerName, WorkerSize>,
  };
}

/** A deployment as properties of the construct. */
export function propsOf(deployment: Deployment): Omit<HoldfastFleetProps, 'fleet'> {
  const { allowsPrivateEndpoints: allowed, alarmsOff } = deployment;
  return {
    name: deployment.stackName,
    sizes: deployment.sizes,
    alarms: {
      off: alarmsOff.includes('all') ? 'all' : (alarmsOff as readonly AlarmName[]),
      replicationLagSeconds: deployment.lagSeconds,
      queueAgeSeconds: deployment.queueAgeSeconds,
      breakerOpenSeconds: deployment.breakerOpenSeconds,
      usedRatio: deployment.usedRatio,
      email: deployment.alarmEmail,
    },
    dashboard: deployment.hasDashboard,
    encryptionKeyArns: deployment.kmsKeyArns,
    logRetentionDays: deployment.logRetentionDays,
    logLevel: deployment.logLevel as NonNullable<HoldfastFleetProps['logLevel']>,
    reservesConcurrency: deployment.reservesConcurrency,
    allowPrivateEndpoints: allowed === 'all' ? true : allowed,
    appliesFleet: deployment.appliesFleet,
  };
}
