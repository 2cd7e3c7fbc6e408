import { systemClock } from '../base/clock.ts';
import { allEnded } from '../base/pool.ts';
import { failureOf } from './failure.ts';
import { bytes, duration, escaped, plural } from './format.ts';
import { type SignalCode, stopSignal } from './interrupt.ts';
import type { Result, Session } from './session.ts';

/** What became of one of many: `same` it was there already · `problem` somebody should know of it, and why. */
export type Step =
  | { readonly outcome: 'done' | 'same'; readonly sizeBytes: number }
  | {
      readonly outcome: 'problem';
      readonly why: string;
      /** It was done all the same; else it was left. */
      readonly isDone?: boolean;
    };

export interface Problem {
  readonly name: string;
  readonly why: string;
  readonly isDone?: true;
}

/** What became of all. */
export interface Bulk {
  readonly done: number;
  readonly same: number;
  readonly bytes: number;
  readonly problems: readonly Problem[];
  /** A signal ended it before all were looked at: this command goes on, and what it ends with. */
  readonly stopped?: { readonly again: string; readonly exitCode: SignalCode };
}

export interface BulkWork<T> {
  readonly items: AsyncIterable<T>;
  /** How many there are, and how large together, once that is known. */
  readonly total?: Promise<{ readonly count: number; readonly bytes: number }>;
  readonly concurrency: number;
  nameOf(item: T): string;
  /** What it throws that is about this one becomes its problem. */
  step(item: T): Promise<Step>;
}

/** Errors that no other item would escape. */
const fatalKinds: ReadonlySet<unknown> = new Set(['not-configured', 'closed', 'denied', 'missing-table', 'usage']);

/**
 * Works on many items, some at a time, and shows how far it has come. The first signal ends it after what is in flight: what was done
 * is done, and the same command goes on from there.
 */
export async function runBulk<T>(session: Session, work: BulkWork<T>): Promise<Bulk> {
  const interrupt = stopSignal(session, () => session.abandon());
  const bulk = { done: 0, same: 0, bytes: 0, problems: [] as Problem[] };
  const progress = showProgress(session, work, bulk);
  let fatal: unknown;
  const isOver = () => interrupt.signal.aborted || fatal !== undefined;
  const doOne = async (item: T) => {
    try {
      const step = await work.step(item);
      if (step.outcome === 'problem')
        bulk.problems.push({ name: work.nameOf(item), why: step.why, ...(step.isDone ? { isDone: true } : {}) });
      else {
        bulk[step.outcome] += 1;
        bulk.bytes += step.sizeBytes;
      }
    } catch (error) {
      if (!(error instanceof Error) || fatalKinds.has((error as { kind?: unknown }).kind)) fatal = error;
      else bulk.problems.push({ name: work.nameOf(item), why: failureOf(error).sentence });
    }
    progress.tick();
  };
  const items = work.items[Symbol.asyncIterator]();
  let isAtEnd = false;
  const lane = async () => {
    while (!isOver()) {
      const next = await items.next();
      if (next.done === true) {
        isAtEnd = true;
        return;
      }
      await doOne(next.value);
    }
  };
  try {
    await allEnded(Array.from({ length: work.concurrency }, lane));
  } finally {
    progress.end();
    interrupt.end();
  }
  if (fatal !== undefined) throw fatal;
  const exitCode = isAtEnd ? undefined : interrupt.endedBy();
  return { ...bulk, ...(exitCode !== undefined && { stopped: { again: session.commandLine, exitCode } }) };
}

/** What a person, or a program, is told of it. */
export function resultOfBulk(did: string, bulk: Bulk, more: object = {}): Result {
  const { done, same, problems, stopped } = bulk;
  const unchanged = same === 0 ? '' : `, ${same} ${same === 1 ? 'was' : 'were'} there already`;
  const left = problems.filter(({ isDone }) => isDone === undefined).length;
  const otherwise = problems.length - left;
  const isComplete = stopped === undefined && problems.length === 0;
  const lines = [
    `${did} ${plural(done, 'object')}${unchanged}  ${bytes(bulk.bytes)}`,
    ...problems.map(
      ({ name, why, isDone }) => `${isDone ? `${did}, but` : 'left'}: "${escaped(name)}": ${escaped(why)}`,
    ),
    ...(otherwise === 0 ? [] : [`${did} ${plural(otherwise, 'object')} otherwise than by its own name alone`]),
    ...(left === 0 ? [] : [`${plural(left, 'object')} left`]),
    ...(stopped === undefined ? [] : [`Stopped before the end: \`${escaped(stopped.again)}\` goes on from here`]),
  ];
  return {
    text: lines.join('\n'),
    document: { done, same, bytes: bulk.bytes, problems, isComplete, ...more },
    exitCode: stopped?.exitCode ?? (isComplete ? 0 : 1),
  };
}

const everyMs = 200;

/** One line that is written over itself in a terminal; nothing elsewhere. */
function showProgress<T>({ isJson, stderr }: Session, { total }: BulkWork<T>, bulk: Bulk) {
  const isTerminal = !isJson && 'isTTY' in stderr && stderr.isTTY === true;
  const startedAt = systemClock.now();
  let shownAt = 0;
  let known: { readonly count: number; readonly bytes: number } | undefined;
  total?.then(
    (found) => {
      known = found;
    },
    () => {},
  );
  const line = (now: number) => {
    const seconds = Math.max(0.1, (now - startedAt) / 1000);
    const count = bulk.done + bulk.same + bulk.problems.length;
    const of = known === undefined ? '' : ` of ${known.count}`;
    const left = known === undefined || count === 0 ? '' : ` · ${timeLeft(seconds, count, bulk.bytes, known)} left`;
    return `${count}${of} · ${bytes(bulk.bytes)} · ${bytes(bulk.bytes / seconds)}/s${left}`;
  };
  return {
    tick() {
      const now = systemClock.now();
      if (!isTerminal || now - shownAt < everyMs) return;
      shownAt = now;
      stderr.write(`\r${line(now)}\u001b[K`);
    },
    end() {
      if (isTerminal && shownAt > 0) stderr.write('\r\u001b[K');
    },
  };
}

/** By whichever is further behind: many small ones cost by their number, few large ones by their bytes. */
function timeLeft(
  seconds: number,
  count: number,
  sentBytes: number,
  total: { readonly count: number; readonly bytes: number },
): string {
  const share = Math.min(count / Math.max(1, total.count), total.bytes === 0 ? 1 : sentBytes / total.bytes);
  return share <= 0 ? 'unknown time' : duration(Math.max(0, (seconds / share - seconds) * 1000));
}
