import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { backendDimension, metricNamespace } from '../lib/base/metric-names.ts';
import type { Gauges } from '../lib/workers/metrics.ts';

/** Writes what a tick publishes as CloudWatch embedded metrics: one log line for the fleet and one per backend. */
export function publish({ fleet, backends, copies }: Gauges): void {
  const metrics = new Metrics({ namespace: metricNamespace });
  for (const [field, count] of Object.entries(copies)) metrics.addMetadata(field, String(count));
  add(metrics, fleet);
  for (const [name, values] of Object.entries(backends)) {
    add(new Metrics({ namespace: metricNamespace, defaultDimensions: { [backendDimension]: name } }), values);
  }
}

function add(metrics: Metrics, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) metrics.addMetric(name, unitOf(name), value);
  metrics.publishStoredMetrics();
}

function unitOf(name: string) {
  if (name.endsWith('Seconds')) return MetricUnit.Seconds;
  return name.endsWith('Ratio') ? MetricUnit.NoUnit : MetricUnit.Count;
}
