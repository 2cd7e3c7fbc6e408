import { backendDimension, fleetDimension, metricNamespace } from '../lib/base/metric-names.ts';
import type { Gauges } from '../lib/tick/metrics.ts';

/**
 * What a tick publishes as lines of CloudWatch's embedded metric format: one for the fleet, one per backend. CloudWatch
 * makes metrics of them as it takes in the log; there is no request, and nothing to wait for.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function metricLines({ fleet, backends, copies }: Gauges, name: string, now: number): string[] {
  const ofFleet = { [fleetDimension]: name };
  const ofBackends = Object.entries(backends).map(([backend, values]) =>
    lineOf({ ...ofFleet, [backendDimension]: backend }, values, now),
  );
  return [lineOf(ofFleet, fleet, now, copies), ...ofBackends];
}

type Values = Readonly<Record<string, number>>;

function lineOf(
  dimensions: Readonly<Record<string, string>>,
  values: Values,
  now: number,
  others: Values = {},
): string {
  const metrics = Object.keys(values).map((name) => ({ Name: name, Unit: unitOf(name) }));
  const directive = { Namespace: metricNamespace, Dimensions: [Object.keys(dimensions)], Metrics: metrics };
  const _aws = { Timestamp: now, CloudWatchMetrics: [directive] };
  return `${JSON.stringify({ _aws, ...dimensions, ...values, ...others })}\n`;
}

function unitOf(name: string): string {
  if (name.endsWith('Seconds')) return 'Seconds';
  return name.endsWith('Ratio') ? 'None' : 'Count';
}
