/**
 * The names under which a tick publishes what it saw. Alarms and the dashboard are made from these and nothing else.
 *
 * Custom metrics cost money: one value of `fleetMetrics` per fleet and one of `backendMetrics` per backend, at most 27 pairs
 * of name and dimension for five backends.
 */
export const metricNamespace = 'Holdfast';

/** The dimension of every metric: which fleet. */
export const fleetDimension = 'fleet';
/** The second dimension of `backendMetrics`. */
export const backendDimension = 'backend';

export const fleetMetrics = [
  'UnderReplicated',
  'OverReplicated',
  'AtRisk',
  'QueueDepth',
  'DeadLetters',
  'Damaged',
  'Stuck',
  'Quarantined',
  'OldestUnverifiedSeconds',
  'OldestPlaintextUncheckedSeconds',
  'OldestPassSeconds',
  'UnrecordedKeys',
  'ReplicationLagSeconds',
  'OldestUnderReplicatedSeconds',
  'QueueOldestSeconds',
  'RemovalLimitReached',
] as const;
export type FleetMetric = (typeof fleetMetrics)[number];

export const backendMetrics = ['UsedRatio', 'BreakerOpen'] as const;
export type BackendMetric = (typeof backendMetrics)[number];

/** Fields of the same log line that are no metrics: objects by their number of counted copies, the last one "or more". */
export const copiesFields = [
  'objectsWith0Copies',
  'objectsWith1Copy',
  'objectsWith2Copies',
  'objectsWith3Copies',
  'objectsWith4OrMoreCopies',
] as const;
