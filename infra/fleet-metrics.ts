import { Duration } from 'aws-cdk-lib';
import { Metric } from 'aws-cdk-lib/aws-cloudwatch';
import {
  type BackendMetric,
  backendDimension,
  type FleetMetric,
  fleetDimension,
  metricNamespace,
} from '../lib/base/metric-names.ts';

/** A metric that ticks publish for the whole fleet. */
export function fleetMetric(fleet: string, metricName: FleetMetric, periodSeconds: number, statistic: string): Metric {
  return metric(metricName, { [fleetDimension]: fleet }, periodSeconds, statistic);
}

/** A metric that ticks publish for one backend. */
export function backendMetric(
  fleet: string,
  metricName: BackendMetric,
  backend: string,
  periodSeconds: number,
  statistic: string,
): Metric {
  return metric(metricName, { [fleetDimension]: fleet, [backendDimension]: backend }, periodSeconds, statistic);
}

function metric(
  metricName: string,
  dimensionsMap: Record<string, string>,
  periodSeconds: number,
  statistic: string,
): Metric {
  return new Metric({
    namespace: metricNamespace,
    metricName,
    dimensionsMap,
    statistic,
    period: Duration.seconds(periodSeconds),
  });
}
