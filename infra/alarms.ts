import { Annotations, Duration, Stack } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  type IMetric,
  MathExpression,
  Metric,
  Stats,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import type { BackendMetric, FleetMetric } from '../lib/base/metric-names.ts';
import { type Parameters, scheduleMs } from '../lib/config/parameters.ts';
import type { AlarmName } from './alarm-names.ts';
import { backendMetric, fleetMetric } from './fleet-metrics.ts';
import type { FleetTables } from './holdfast-tables.ts';
import type { ScheduledWorker } from './scheduled-worker.ts';
import type { Plan } from './validate.ts';

export interface FleetAlarmsProps {
  readonly plan: Plan;
  readonly tables: FleetTables;
  readonly workers: readonly ScheduledWorker[];
  readonly deadLetters: Queue;
  /** [one of the fleet's own] */
  readonly topic?: ITopic;
}

/** One alarm: it is raised when the metric is above (or, for `below`, under) the threshold in as many of its periods as it says. */
interface AlarmRule {
  readonly name: AlarmName;
  /** Tells it from others of the same name, e.g. the worker. */
  readonly of?: string;
  readonly says: string;
  readonly metric: IMetric;
  /** How many metrics it is charged for [1]. */
  readonly metrics?: number;
  readonly above?: number;
  readonly below?: number;
  readonly periods?: number;
  /** In how many of its periods [all of them]. */
  readonly inPeriods?: number;
  /** What no data means: as before for what is a state, fine for what is only told when it happens. */
  readonly missing: TreatMissingData;
}

const fiveMinutes = 300;
const hour = 3600;
const day = 86_400;
/** List price of an alarm for each of its metrics, USD a month; the first ten of an account are free. */
const alarmUsd = 0.1;
const freeAlarms = 10;

/** Every alarm of a fleet, each with its section of the runbook, and the topic that they are sent to. */
export class FleetAlarms extends Construct {
  readonly topic: ITopic;
  readonly alarms: readonly Alarm[];
  /** In words. */
  readonly cost: string;

  constructor(scope: Construct, id: string, props: FleetAlarmsProps) {
    super(scope, id);
    const { deployment } = props.plan;
    this.topic = props.topic ?? this.createTopic();
    if (deployment.alarmEmail !== '') this.topic.addSubscription(new EmailSubscription(deployment.alarmEmail));
    const isOff = (name: string) => deployment.alarmsOff.includes(name) || deployment.alarmsOff.includes('all');
    const rules = [...workerRules(this, props.workers), ...fleetRules(props), ...tableRules(props.tables)];
    const kept = rules.filter(({ name }) => !isOff(name));
    this.alarms = kept.map((rule) => this.create(rule, deployment.stackName));
    const charged = kept.reduce((sum, { metrics = 1 }) => sum + metrics, 0);
    const usd = (Math.max(0, charged - freeAlarms) * alarmUsd).toFixed(2);
    this.cost = `${charged} alarm metrics, the first ${freeAlarms} of an account free: USD ${usd} a month`;
  }

  private createTopic(): Topic {
    const topic = new Topic(this, 'Topic', { enforceSSL: true });
    // Stated once there is a policy at all: CloudWatch of this account may publish.
    topic.addToResourcePolicy(
      new PolicyStatement({
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [topic.topicArn],
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
    );
    return topic;
  }

  private create(rule: AlarmRule, fleetName: string): Alarm {
    const { name, of, says, metric, above, below, periods = 1, inPeriods = periods, missing } = rule;
    const title = of === undefined ? name : `${name}-${of}`;
    const alarm = new Alarm(this, title, {
      alarmName: `${fleetName}-${title}`,
      alarmDescription: `${says}. Runbook: docs/runbook.md#${name}`,
      metric,
      threshold: above ?? below!,
      comparisonOperator:
        above === undefined ? ComparisonOperator.LESS_THAN_THRESHOLD : ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: periods,
      datapointsToAlarm: inPeriods,
      treatMissingData: missing,
    });
    const action = new SnsAction(this.topic);
    alarm.addAlarmAction(action);
    alarm.addOkAction(action);
    return alarm;
  }
}

/** Lambda's own metrics, which cost nothing. */
function workerRules(scope: Construct, workers: readonly ScheduledWorker[]): AlarmRule[] {
  return workers.flatMap(({ worker, function: { lambda }, tuning }): AlarmRule[] => {
    const periodSeconds = tuning.schedule.startsWith('rate(') ? scheduleMs(tuning.schedule)! / 1000 : day;
    const errorPeriod = Math.min(Math.max(fiveMinutes, periodSeconds), day);
    const failing: AlarmRule = {
      name: 'worker-failing',
      of: worker,
      says: `The ${worker} ends as failed or error`,
      metric: lambda.metricErrors({ period: Duration.seconds(errorPeriod), statistic: Stats.SUM }),
      above: 0,
      // One lost race or one slow minute is no failure; two in three periods are.
      periods: 3,
      inPeriods: 2,
      missing: TreatMissingData.NOT_BREACHING,
    };
    if (!tuning.enabled) return [failing];
    // Alarms look back at most a week, and at most a day in periods under an hour.
    const silence = Math.max(3 * periodSeconds, 900);
    const period = Math.min(silence, day);
    const periods = Math.ceil(silence / period);
    if (periods > 7) {
      Annotations.of(scope).addWarningV2(
        `holdfast:silence-${worker}`,
        `The ${worker} runs at ${tuning.schedule}: too rarely for an alarm on its silence`,
      );
      return [failing];
    }
    const notRunning: AlarmRule = {
      name: 'worker-not-running',
      of: worker,
      says: `The ${worker} has not run for ${Math.round(silence / 60)} minutes`,
      metric: lambda.metricInvocations({ period: Duration.seconds(period), statistic: Stats.SUM }),
      below: 1,
      periods,
      missing: TreatMissingData.BREACHING,
    };
    return [failing, notRunning];
  });
}

function fleetRules({ plan, deadLetters, workers }: FleetAlarmsProps): AlarmRule[] {
  const { deployment, parameters, file } = plan;
  const fleet = (name: FleetMetric, period = fiveMinutes, statistic = Stats.MAXIMUM) =>
    fleetMetric(deployment.stackName, name, period, statistic);
  const backend = (name: BackendMetric, of: string, statistic: string) =>
    backendMetric(deployment.stackName, name, of, fiveMinutes, statistic);
  const periodOf = (worker: string) => scheduleMs(workers.find((w) => w.worker === worker)!.tuning.schedule)! / 1000;
  // Two periods of the replicator: in each window at least one tick has told.
  const replication = Math.min(Math.max(2 * fiveMinutes, 2 * periodOf('replicator')), day);
  const replicatorTurn = Math.min(Math.max(fiveMinutes, periodOf('replicator')), day / 2);
  const cycle = Math.min(Math.max(hour, 2 * periodOf('scrubber')), day);
  const lag = new MathExpression({
    expression: 'MAX([FILL(lag, 0), FILL(oldest, 0)])',
    usingMetrics: {
      lag: fleet('ReplicationLagSeconds', replication),
      oldest: fleet('OldestUnderReplicatedSeconds', replication),
    },
    period: Duration.seconds(replication),
    label: 'Replication lag',
  });
  const atRisk = new MathExpression({
    expression: `IF(FILL(oldest, 0) > ${deployment.lagSeconds}, FILL(risk, 0), 0)`,
    usingMetrics: { risk: fleet('AtRisk', replication), oldest: fleet('OldestUnderReplicatedSeconds', replication) },
    period: Duration.seconds(replication),
    label: 'Objects at risk',
  });
  const state = TreatMissingData.IGNORE;
  const event = TreatMissingData.NOT_BREACHING;
  // Two passes that ought to have come to their end.
  const passSeconds = Math.round((3 * parameters.reconcilerIntervalMs) / 1000);
  const cycleSeconds = longestCycleSeconds(parameters);
  return [
    { name: 'damaged', says: 'Objects of which no copy verifies', metric: fleet('Damaged'), above: 0, missing: state },
    {
      name: 'stuck',
      says: 'Objects that every backend refuses, and has refused again',
      // A moment of trouble looks the same at first: five minutes later each is tried again, by the tick behind that.
      metric: fleet('Stuck', replicatorTurn, Stats.MINIMUM),
      above: 0,
      periods: 2,
      missing: state,
    },
    {
      name: 'dead-letters',
      says: 'Deletions that were given up',
      metric: fleet('DeadLetters'),
      above: 0,
      missing: state,
    },
    {
      name: 'queue-age',
      says: `A queue item is overdue by more than ${deployment.queueAgeSeconds} s`,
      metric: fleet('QueueOldestSeconds'),
      above: deployment.queueAgeSeconds,
      missing: event,
    },
    ...file.backends.map(
      ({ name }): AlarmRule => ({
        name: 'breaker-open',
        of: name,
        says: `Backend ${name} has not been reachable for ${deployment.breakerOpenSeconds} s`,
        metric: backend('BreakerOpen', name, Stats.MINIMUM),
        above: 0,
        periods: Math.ceil(deployment.breakerOpenSeconds / fiveMinutes),
        missing: state,
      }),
    ),
    ...file.backends
      .filter(({ quotaBytes }) => quotaBytes > 0)
      .map(
        ({ name }): AlarmRule => ({
          name: 'quota',
          of: name,
          says: `Backend ${name} is fuller than ${Math.round(deployment.usedRatio * 100)} % of its quota`,
          metric: backend('UsedRatio', name, Stats.MAXIMUM),
          above: deployment.usedRatio,
          missing: state,
        }),
      ),
    {
      name: 'replication-lag',
      says: `An object has waited more than ${deployment.lagSeconds} s for its last copy`,
      metric: lag,
      metrics: 2,
      above: deployment.lagSeconds,
      missing: event,
    },
    {
      name: 'at-risk',
      says: `Objects with a single counted copy left wait longer than ${deployment.lagSeconds} s for another`,
      metric: atRisk,
      metrics: 2,
      above: 0,
      missing: event,
    },
    {
      name: 'scrub-cycle-overdue',
      says: `A copy has not been verified for more than ${parameters.scrubberCycleDays} days and a tenth`,
      metric: fleet('OldestUnverifiedSeconds', cycle),
      above: cycleSeconds,
      missing: event,
    },
    // Without a key there is no plaintext to compare, and no such figure.
    ...(file.encryption === undefined
      ? []
      : [plaintextRule(fleet('OldestPlaintextUncheckedSeconds', cycle), parameters)]),
    {
      name: 'pass-overdue',
      says: `A backend has not been reconciled to its end for more than ${Math.round(passSeconds / 3600)} hours`,
      metric: fleet('OldestPassSeconds'),
      above: passSeconds,
      missing: state,
    },
    {
      name: 'unrecorded',
      says: 'The last pass met bytes of ours whose object is unknown',
      metric: fleet('UnrecordedKeys'),
      above: 0,
      missing: state,
    },
    {
      name: 'removal-limit',
      says: 'Too many copies seem missing or wrong: removals have stopped',
      metric: fleet('RemovalLimitReached'),
      above: 0,
      missing: event,
    },
    {
      name: 'schedule-dead-letters',
      says: 'EventBridge Scheduler could not deliver an event',
      metric: deadLetters.metricApproximateNumberOfMessagesVisible({
        period: Duration.seconds(fiveMinutes),
        statistic: Stats.MAXIMUM,
      }),
      above: 0,
      missing: event,
    },
  ];
}

/** A scrub cycle, and a tenth. */
function longestCycleSeconds({ scrubberCycleDays }: Pick<Parameters, 'scrubberCycleDays'>): number {
  return Math.round(scrubberCycleDays * day * 1.1);
}

function plaintextRule(metric: IMetric, parameters: Parameters): AlarmRule {
  return {
    name: 'plaintext-check-overdue',
    says: `A ciphertext was not found to decipher to what was put for more than ${parameters.scrubberCycleDays} days and a tenth`,
    metric,
    above: longestCycleSeconds(parameters),
    missing: TreatMissingData.NOT_BREACHING,
  };
}

/** A throttled index throttles the writes of its table, so the tables' own metrics tell. */
function tableRules(tables: FleetTables): AlarmRule[] {
  return (['objects', 'queue', 'control'] as const).map((id): AlarmRule => {
    const events = (metricName: string) =>
      new Metric({
        namespace: 'AWS/DynamoDB',
        metricName,
        dimensionsMap: { TableName: tables[id].tableName },
        statistic: Stats.SUM,
        period: Duration.seconds(fiveMinutes),
      });
    return {
      name: 'throttles',
      of: id,
      says: `DynamoDB throttles the ${id} table`,
      metric: new MathExpression({
        expression: 'FILL(reads, 0) + FILL(writes, 0)',
        usingMetrics: { reads: events('ReadThrottleEvents'), writes: events('WriteThrottleEvents') },
        period: Duration.seconds(fiveMinutes),
        label: 'Throttled requests',
      }),
      metrics: 2,
      above: 0,
      periods: 3,
      missing: TreatMissingData.NOT_BREACHING,
    };
  });
}
