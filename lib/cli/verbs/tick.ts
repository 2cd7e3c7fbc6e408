import { defined } from '../../base/defined.ts';
import { printable } from '../../base/printable.ts';
import { parseParameters, type WorkerName } from '../../config/parameters.ts';
import { planTick, type WorkPlan } from '../../operations/work-plan.ts';
import { standingOf } from '../../store/fleet-view.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { TickEvent, TickReport, Worker } from '../../tick/tick.ts';
import { workers } from '../../workers/workers.ts';
import { UsageError } from '../failure.ts';
import { duration } from '../format.ts';
import { stopSignal } from '../interrupt.ts';
import { assertAffordable, sayWorkPlan } from '../max-usd.ts';
import { keepMemoryFlat } from '../memory.ts';
import { dollars, wholeNumber } from '../numbers.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

interface TickOptions {
  readonly part?: number;
  readonly of?: number;
  readonly rounds?: number;
  readonly deadline: number;
  readonly dryRun?: boolean;
  readonly maxUsd?: number;
}

/** `tick`: one invocation of one worker, here. */
export const tickVerbs: VerbGroup = (program, verb) => {
  verb<TickOptions>(
    program
      .command('tick <worker>')
      .description(`run one tick of a worker (${workerList()})`)
      .option('--part <i>', 'part of the shards, from 0; with --of', wholeNumber(0, 15))
      .option('--of <n>', 'number of parallel parts', wholeNumber(1, 16))
      .option('--rounds <n>', 'rounds at most, 0 = no limit [<WORKER>_ROUNDS]', wholeNumber(0, 1_000_000))
      .option('--deadline <seconds>', 'time it may take', wholeNumber(1, 86_400), 60)
      .option('--max-usd <n>', 'do not begin what may cost more than so many dollars', dollars)
      .option('--dry-run', 'plan and report, with what it would cost at most; change nothing'),
    tick,
  );
};

async function tick(session: Session, [name]: Arguments, options: TickOptions): Promise<Result> {
  const worker = workerNamed(name!);
  const { part, of, rounds, deadline, dryRun } = options;
  if ((part === undefined) !== (of === undefined)) throw new UsageError('--part and --of go together');
  if (part !== undefined && of !== undefined && part >= of)
    throw new UsageError(`--part ${part} is not below --of ${of}: parts count from 0`);
  const holdfastProcess = session.process();
  const isPriced = dryRun === true || options.maxUsd !== undefined;
  const plan = isPriced ? await planOf(session, worker.name, options) : undefined;
  assertAffordable(`run the ${worker.name}`, plan?.usd ?? 0, options.maxUsd);
  const { report, endedBy } = await runStoppable(session, worker, {
    deadline: holdfastProcess.clock.now() + deadline * 1000,
    ...defined({ part, of, rounds, dryRun }),
  });
  const isFine = ['success', 'empty', 'busy'].includes(report.outcome);
  if (report.outcome === 'error')
    session.stderr.write(`error: ${printable(report.message ?? 'the tick could not plan')}\n`);
  const says = plan === undefined ? '' : `\n${sayWorkPlan('All that the ledger tells of', plan)}`;
  const document = { ...report, ...defined({ plan }) };
  const stopped = endedBy === undefined ? '' : '\nStopped by a signal: the next tick goes on from here';
  return {
    text: `${describeTick(report)}${stopped}${says}`,
    document,
    exitCode: endedBy ?? (isFine ? 0 : 1),
  };
}

/** A tick that a signal ends gives its lease back: whoever is next need not wait until it has run out. */
async function runStoppable(session: Session, worker: Worker, event: TickEvent) {
  keepMemoryFlat();
  const interrupt = stopSignal(session);
  try {
    const report = await runTick(session.process(), worker, { ...event, stop: interrupt.signal });
    return { report, endedBy: interrupt.endedBy() };
  } finally {
    interrupt.end();
  }
}

/** By the ledger, before the tick. */
async function planOf(session: Session, worker: WorkerName, { of, rounds }: TickOptions): Promise<WorkPlan> {
  const view = await fleetNow(session);
  const params = parseParameters(session.env, view.settings.overrides);
  const now = session.process().clock.now();
  const standing = (name: string) => standingOf(view, name, now, params.unhealthyAfterMs);
  const extent = { params, rounds: rounds ?? params.workers[worker].rounds, ...defined({ of }) };
  return planTick(worker, { view, file: view.config.file, standing }, extent);
}

/** Throws a `UsageError` that names the workers there are. */
export function workerNamed(name: string): Worker {
  if (Object.hasOwn(workers, name)) return workers[name as WorkerName];
  throw new UsageError(`There is no worker "${name}"; there are ${workerList()}`);
}

function workerList(): string {
  return Object.keys(workers).join(', ');
}

export function describeTick(report: TickReport): string {
  const { worker, outcome, planned, succeeded, failed, skipped, deferred, durationMs, message } = report;
  const counts = { planned, succeeded, failed, skipped, deferred, ...report.figures };
  const parts = Object.entries(counts).map(([name, value]) => `${name} ${value}`);
  const reasons = Object.entries(report.reasons).map(([reason, times]) => `  ${times} × ${reason}`);
  const first = `${worker}: ${outcome} in ${duration(durationMs)}  ${planned === 0 ? '' : parts.join(' · ')}`.trimEnd();
  const why = message !== undefined && outcome !== 'error' ? [`  ${message}`] : [];
  return [first, ...reasons, ...why].join('\n');
}
