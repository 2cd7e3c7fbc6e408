import { scheduleMs } from './parameters.ts';

const minuteMs = 60_000;
/** Every combination of month, day and weekday comes round within this time. */
const furthestMs = 9 * 366 * 86_400_000;

/**
 * When a schedule is due next after a moment, UTC, in milliseconds since the epoch; `problem` where it is an expression that only
 * EventBridge Scheduler understands (`L`, `W`, `#`), or is never due.
 *
 * @see https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
 */
export type NextRun =
  | { readonly outcome: 'due'; readonly at: number }
  | { readonly outcome: 'problem'; readonly sentence: string };

export function nextRun(schedule: string, after: number): NextRun {
  const cron = /^cron\(([^()]+)\)$/.exec(schedule);
  if (cron === null) return { outcome: 'due', at: after + (scheduleMs(schedule) ?? minuteMs) };
  const fields = fieldsOf(cron[1]!);
  const problem = (why: string): NextRun => ({ outcome: 'problem', sentence: `The schedule "${schedule}" ${why}` });
  if (fields === null)
    return problem(
      'cannot be kept here: give minutes, hours, day of month, month, day of week and year as numbers, names, lists, ranges or steps',
    );
  let at = Math.floor(after / minuteMs) * minuteMs + minuteMs;
  while (at <= after + furthestMs) {
    const step = stepTo(fields, new Date(at));
    if (step === 0) return { outcome: 'due', at };
    at += step;
  }
  return problem('is never due');
}

type Matches = (value: number) => boolean;

interface Fields {
  readonly minute: Matches;
  readonly hour: Matches;
  readonly day: Matches;
  readonly month: Matches;
  readonly weekday: Matches;
  readonly year: Matches;
}

/** 0 where the moment matches; else how far the next one is that may. */
function stepTo(fields: Fields, time: Date): number {
  const midnight = Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate() + 1);
  const isDay =
    fields.year(time.getUTCFullYear()) &&
    fields.month(time.getUTCMonth() + 1) &&
    fields.day(time.getUTCDate()) &&
    fields.weekday(time.getUTCDay() + 1);
  if (!isDay) return midnight - time.getTime();
  if (!fields.hour(time.getUTCHours())) return (60 - time.getUTCMinutes()) * minuteMs;
  return fields.minute(time.getUTCMinutes()) ? 0 : minuteMs;
}

const months = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const weekdays = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

function fieldsOf(text: string): Fields | null {
  const [minute, hour, day, month, weekday, year = '*', ...more] = text.trim().split(/\s+/);
  if (weekday === undefined || more.length > 0) return null;
  const found = {
    minute: matcher(minute!, 0, 59),
    hour: matcher(hour!, 0, 23),
    day: matcher(day!, 1, 31),
    month: matcher(month!, 1, 12, months),
    weekday: matcher(weekday, 1, 7, weekdays),
    year: matcher(year, 1970, 2199),
  };
  return Object.values(found).includes(null) ? null : (found as Fields);
}

/** One field: `*`, `?`, or a list of values, ranges and steps; null when it is none of these. */
function matcher(text: string, min: number, max: number, names: readonly string[] = []): Matches | null {
  if (text === '*' || text === '?') return () => true;
  const allowed = new Set<number>();
  for (const part of text.toUpperCase().split(',')) {
    const found = /^(\*|[0-9A-Z]+)(?:-([0-9A-Z]+))?(?:\/(\d+))?$/.exec(part);
    if (found === null) return null;
    const value = (word: string) => (names.includes(word) ? names.indexOf(word) + 1 : Number(word));
    const from = found[1] === '*' ? min : value(found[1]!);
    const step = Number(found[3] ?? 1);
    const end = found[2] !== undefined ? value(found[2]) : found[3] !== undefined || found[1] === '*' ? max : from;
    if (!(from >= min && end <= max && from <= end && step > 0)) return null;
    for (let one = from; one <= end; one += step) allowed.add(one);
  }
  return (one) => allowed.has(one);
}
