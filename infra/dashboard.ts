import { Duration } from 'aws-cdk-lib';
import {
  Dashboard,
  GraphWidget,
  GraphWidgetView,
  type IWidget,
  LogQueryVisualizationType,
  LogQueryWidget,
  Stats,
} from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';
import { copiesFields } from '../lib/base/metric-names.ts';
import { backendMetric, fleetMetric } from './fleet-metrics.ts';
import type { ScheduledWorker } from './scheduled-worker.ts';
import type { Plan } from './validate.ts';

const fiveMinutes = 300;
const half = 12;
const third = 8;
const height = 6;

/** The fleet at a glance: objects by counted copies, backends, queue, and a row per worker. */
export function addDashboard(scope: Construct, plan: Plan, workers: readonly ScheduledWorker[]): Dashboard {
  const fleet = plan.deployment.stackName;
  return new Dashboard(scope, 'Dashboard', {
    dashboardName: fleet,
    defaultInterval: Duration.hours(24),
    widgets: [objectRow(fleet, workers), backendRow(fleet, plan), queueRow(fleet, plan), ...workers.map(workerRow)],
  });
}

/** Counts by copies are no metrics, which would cost; they stand in the log lines that carry the metrics. */
function objectRow(fleetName: string, workers: readonly ScheduledWorker[]): IWidget[] {
  const replicator = workers.find(({ worker }) => worker === 'replicator')!;
  const fields = copiesFields.map((field) => `latest(${field}) as ${field.replace('objectsWith', 'with')}`);
  const fleet = (name: Parameters<typeof fleetMetric>[1]) => fleetMetric(fleetName, name, fiveMinutes, Stats.MAXIMUM);
  return [
    new LogQueryWidget({
      title: 'Objects by number of counted copies',
      logGroupNames: [replicator.function.logGroup.logGroupName],
      queryLines: [`filter ispresent(${copiesFields[0]})`, `stats ${fields.join(', ')} by bin(5m)`],
      view: LogQueryVisualizationType.STACKEDAREA,
      width: half,
      height,
    }),
    new GraphWidget({
      title: 'Objects that need something',
      left: [
        fleet('UnderReplicated'),
        fleet('AtRisk'),
        fleet('OverReplicated'),
        fleet('Damaged'),
        fleet('Stuck'),
        fleet('Quarantined'),
      ],
      width: half,
      height,
    }),
  ];
}

function backendRow(fleet: string, { file }: Plan): IWidget[] {
  const each = (name: Parameters<typeof backendMetric>[1], of: readonly { readonly name: string }[]) =>
    of.map((backend) =>
      backendMetric(fleet, name, backend.name, fiveMinutes, Stats.MAXIMUM).with({ label: backend.name }),
    );
  const limited = file.backends.filter(({ quotaBytes }) => quotaBytes > 0);
  return [
    new GraphWidget({
      title: 'Share of quota used',
      view: GraphWidgetView.BAR,
      left: each('UsedRatio', limited),
      width: half,
      height,
    }),
    new GraphWidget({
      title: 'Breakers open',
      view: GraphWidgetView.BAR,
      left: each('BreakerOpen', file.backends),
      width: half,
      height,
    }),
  ];
}

function queueRow(fleet: string, plan: Plan): IWidget[] {
  const metric = (name: Parameters<typeof fleetMetric>[1]) => fleetMetric(fleet, name, fiveMinutes, Stats.MAXIMUM);
  return [
    new GraphWidget({ title: 'Queue', left: [metric('QueueDepth'), metric('DeadLetters')], width: third, height }),
    new GraphWidget({
      title: 'Oldest, in seconds',
      left: [metric('QueueOldestSeconds'), metric('OldestUnderReplicatedSeconds'), metric('ReplicationLagSeconds')],
      width: third,
      height,
    }),
    new GraphWidget({
      title: 'Verification',
      left: [
        metric('OldestUnverifiedSeconds'),
        metric('OldestPassSeconds'),
        ...(plan.file.encryption === undefined ? [] : [metric('OldestPlaintextUncheckedSeconds')]),
      ],
      right: [metric('RemovalLimitReached'), metric('UnrecordedKeys')],
      width: third,
      height,
    }),
  ];
}

function workerRow({ worker, function: { lambda } }: ScheduledWorker): IWidget[] {
  const period = Duration.minutes(5);
  return [
    new GraphWidget({
      title: `${worker}: runs and errors`,
      left: [lambda.metricInvocations({ period }), lambda.metricErrors({ period }), lambda.metricThrottles({ period })],
      width: half,
      height,
    }),
    new GraphWidget({
      title: `${worker}: duration`,
      left: [
        lambda.metricDuration({ period, statistic: Stats.MAXIMUM }),
        lambda.metricDuration({ period, statistic: Stats.AVERAGE }),
      ],
      width: half,
      height,
    }),
  ];
}
