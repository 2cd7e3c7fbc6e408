import { readFileSync } from 'node:fs';
import type { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import type { Code } from 'aws-cdk-lib/aws-lambda';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { parameterPrefix, type WorkerName } from '../lib/config/parameters.ts';
import type { FleetFileInput } from '../lib/config/parse-fleet-file.ts';
import { ConfigError } from '../lib/config/problems.ts';
import type { Actor } from './actors.ts';
import type { AlarmName } from './alarm-names.ts';
import type { FleetTables, NamedTables } from './holdfast-tables.ts';

/** Timeout and memory of one function. */
export interface FunctionSize {
  readonly timeoutSeconds?: number;
  readonly memoryMb?: number;
}

/** Which alarms there are, and when they are raised. */
export interface AlarmProps {
  /** Kinds that are left out, or `all` [none]. */
  readonly off?: 'all' | readonly AlarmName[];
  /** How long an object may wait for its last copy [900]. */
  readonly replicationLagSeconds?: number;
  /** How long a queue item may be overdue [3600]. */
  readonly queueAgeSeconds?: number;
  /** How long a breaker may be open [1800]. */
  readonly breakerOpenSeconds?: number;
  /** How full a quota may be [0.9]. */
  readonly usedRatio?: number;
  /** An address that is subscribed to the topic. */
  readonly email?: string;
}

/** A fleet as it is deployed. Everything but the fleet file has a default. */
export interface HoldfastFleetProps {
  /**
   * The fleet file: its path, its JSON text, or the object itself. ARNs in the object may be tokens (`Fn.ref`, SSM parameters,
   * attributes of other constructs).
   */
  readonly fleet: string | FleetFileInput;
  /** The tables: a `HoldfastTables`, or the names of tables that another stack makes [the default names]. */
  readonly tables?: FleetTables | NamedTables;
  /** What functions, alarms, metrics and the dashboard are called [derived from the construct's path]. */
  readonly name?: string;
  /** Tuning parameters, by the names of `docs/parameters.md`. */
  readonly tuning?: Readonly<Record<string, string | number | boolean>>;
  readonly sizes?: Readonly<Partial<Record<WorkerName, FunctionSize>>>;
  readonly alarms?: AlarmProps;
  /** Where alarms are sent [a topic of the fleet's own]. */
  readonly topic?: ITopic;
  /** [true] */
  readonly dashboard?: boolean;
  /** Where the functions run [outside of any VPC]. They must reach DynamoDB and every backend from there. */
  readonly vpc?: IVpc;
  readonly vpcSubnets?: SubnetSelection;
  readonly securityGroups?: readonly ISecurityGroup[];
  /** ARNs of KMS keys that protect secrets or buckets of the fleet: the functions may use them. */
  readonly encryptionKeyArns?: readonly string[];
  /** [30] */
  readonly logRetentionDays?: number;
  /** [info] */
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
  /** Whether each worker reserves its parts out of the account's concurrency [false]. */
  readonly reservesConcurrency?: boolean;
  /** Whether endpoints may be http, loopback, private or link-local: of every backend, or of those named [false]. */
  readonly allowPrivateEndpoints?: boolean | readonly string[];
  /**
   * Whether the deployment puts the fleet file in force [true]. Otherwise whoever invokes the `apply` function does, e.g. once
   * the bucket policies of other accounts name the roles.
   */
  readonly appliesFleet?: boolean;
  /** Something that differs at every deployment makes each apply the file; without it only one that changes the file does. */
  readonly deployedAt?: string;
  /** Code of the functions [what the package ships]. */
  readonly code?: (actor: Actor) => Code;
}

/** The options that a fleet's properties stand for, as text: what is not given is left out. */
export function optionsOf(props: Omit<HoldfastFleetProps, 'fleet'>, name: string): Record<string, string> {
  const { alarms = {}, sizes = {}, allowPrivateEndpoints: allowed } = props;
  const given: Readonly<Record<string, unknown>> = {
    HOLDFAST_STACK: name,
    HOLDFAST_RESERVED_CONCURRENCY: props.reservesConcurrency,
    HOLDFAST_LOG_RETENTION_DAYS: props.logRetentionDays,
    HOLDFAST_LOG: props.logLevel,
    HOLDFAST_APPLY: props.appliesFleet,
    HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: typeof allowed === 'object' ? allowed.join() || false : allowed,
    HOLDFAST_ALARM_EMAIL: alarms.email,
    HOLDFAST_ALARMS_OFF: typeof alarms.off === 'object' ? alarms.off.join() : alarms.off,
    HOLDFAST_ALARM_REPLICATION_LAG_SECONDS: alarms.replicationLagSeconds,
    HOLDFAST_ALARM_QUEUE_AGE_SECONDS: alarms.queueAgeSeconds,
    HOLDFAST_ALARM_BREAKER_OPEN_SECONDS: alarms.breakerOpenSeconds,
    HOLDFAST_ALARM_USED_RATIO: alarms.usedRatio,
    HOLDFAST_DASHBOARD: props.dashboard,
    ...Object.fromEntries(
      Object.entries(sizes).flatMap(([worker, { timeoutSeconds, memoryMb }]) => [
        [`${parameterPrefix(worker as WorkerName)}_TIMEOUT_SECONDS`, timeoutSeconds],
        [`${parameterPrefix(worker as WorkerName)}_MEMORY_MB`, memoryMb],
      ]),
    ),
  };
  return textOf(given);
}

/** Values as an environment holds them; without those that are undefined. */
export function textOf(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}

/** The JSON text of a fleet file. Throws a `ConfigError` where a path cannot be read. */
export function fleetText(fleet: HoldfastFleetProps['fleet']): string {
  if (typeof fleet !== 'string') return JSON.stringify(fleet);
  if (fleet.trimStart().startsWith('{')) return fleet;
  if (fleet === '') throw new ConfigError('There is no fleet file', ['HOLDFAST_FLEET must name one, or hold its JSON']);
  try {
    return readFileSync(fleet, 'utf8');
  } catch (error) {
    throw new ConfigError('The fleet file cannot be read', [`"${fleet}": ${(error as Error).message}`]);
  }
}
