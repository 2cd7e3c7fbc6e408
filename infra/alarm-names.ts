/** Every kind of alarm: the name by which it is switched off, which is also its section of `docs/runbook.md`. */
export const alarmNames = [
  'worker-failing',
  'worker-not-running',
  'damaged',
  'stuck',
  'dead-letters',
  'queue-age',
  'breaker-open',
  'quota',
  'replication-lag',
  'at-risk',
  'scrub-cycle-overdue',
  'plaintext-check-overdue',
  'pass-overdue',
  'unrecorded',
  'removal-limit',
  'schedule-dead-letters',
  'throttles',
] as const;
export type AlarmName = (typeof alarmNames)[number];
