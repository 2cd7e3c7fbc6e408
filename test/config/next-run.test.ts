import { expect, test } from 'vitest';
import { nextRun } from '../../lib/config/next-run.ts';

const from = Date.UTC(2026, 1, 27, 23, 58, 30);
const dueAt = (schedule: string) => {
  const next = nextRun(schedule, from);
  return next.outcome === 'due' ? new Date(next.at).toISOString() : next.sentence;
};

test.each([
  ['rate(5 minutes)', '2026-02-28T00:03:30.000Z'],
  ['cron(* * * * ? *)', '2026-02-27T23:59:00.000Z'],
  ['cron(0 3 * * ? *)', '2026-02-28T03:00:00.000Z'],
  ['cron(0/15 8-17 ? * MON-FRI *)', '2026-03-02T08:00:00.000Z'],
  ['cron(30 12 ? * 1 *)', '2026-03-01T12:30:00.000Z'],
  ['cron(0 0 29 2 ? *)', '2028-02-29T00:00:00.000Z'],
  ['cron(5,50 */6 1 JAN,JUL ? 2027)', '2027-01-01T00:05:00.000Z'],
])('%s is due next at %s', (schedule, expected) => {
  expect(dueAt(schedule)).toBe(expected);
});

test.each(['cron(0 3 L * ? *)', 'cron(0 3 ? * 6#3 *)', 'cron(61 * * * ? *)', 'cron(0 3)', 'cron(9-3 * * * ? *)'])(
  '%s is a problem that is said, and not a schedule that is guessed',
  (schedule) => {
    expect(dueAt(schedule)).toContain('cannot be kept here');
  },
);

test('a date that never comes is a problem too', () => {
  expect(dueAt('cron(0 0 31 2 ? *)')).toContain('is never due');
  expect(dueAt('cron(0 0 1 1 ? 2020)')).toContain('is never due');
});
