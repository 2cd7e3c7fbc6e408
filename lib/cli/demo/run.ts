import { createClient } from '../../client/client.ts';
import type { WorkerName } from '../../config/parameters.ts';
import { recount } from '../../operations/recount.ts';
import { type Arranged, factor } from './arrange.ts';
import type { SourceFile } from './files.ts';
import { type LoadProgress, planLoad, runLoad } from './load.ts';
import type { Progress } from './progress.ts';
import type { Findings } from './report.ts';
import { standingNow, summaryNow, untilSettled } from './settle.ts';
import { createStage, type Stage } from './stage.ts';
import { steps } from './steps/steps.ts';
import { startUpkeep } from './upkeep.ts';
import { verifyCopies } from './verify.ts';

export interface Running {
  readonly arranged: Arranged;
  readonly dir: string;
  readonly progress: Progress;
  readonly files: readonly SourceFile[];
  /** By `performance.now()`. */
  readonly startedAt: number;
  readonly signal: AbortSignal;
}

/** Those that have something to do while files are put; a step is about each of the others. */
const always: readonly WorkerName[] = ['replicator', 'cleanup-queue', 'pending-reaper', 'over-replication-cleaner'];

/** Load, steps, verification. */
export async function run(running: Running): Promise<Findings> {
  const { arranged, dir, progress, signal, startedAt } = running;
  const { process: holdfastProcess, buckets, work } = arranged;
  const { clock } = holdfastProcess;
  const loaded = await loadAndSettle(running);
  const stage = createStage(arranged, dir, running.files, loaded.load.putAt, signal);
  const stepsFrom = clock.now();
  const failure = loaded.isSettled ? await runSteps(running, stage) : null;
  const stepsMs = clock.now() - stepsFrom;
  const standing = await standingNow(holdfastProcess);
  const { files } = stage;
  let compared = 0;
  progress.phase(
    () =>
      `${sinceStart(running)}  checking  ${compared}/${files.length * factor} copies compared with the files on disk`,
  );
  const checkFrom = clock.now();
  const known = { putAt: stage.putAt, waiting: standing.waiting };
  const check = await verifyCopies(buckets, files, factor, known, () => {
    compared += 1;
  });
  const checkMs = clock.now() - checkFrom;
  const recounted = await recount(holdfastProcess, false);
  return {
    files: files.length,
    load: loaded.load,
    work,
    failure,
    standing,
    summary: await summaryNow(holdfastProcess),
    check,
    recounted,
    ms: {
      load: loaded.loadMs,
      replicated: loaded.replicatedMs,
      steps: stepsMs,
      check: checkMs,
      total: performance.now() - startedAt,
    },
  };
}

interface Loaded {
  readonly load: LoadProgress;
  readonly isSettled: boolean;
  readonly loadMs: number;
  /** From the first put until every object had its copies. */
  readonly replicatedMs: number;
}

/** Puts every file while the workers run, and waits until they have nothing left to do. */
async function loadAndSettle(running: Running): Promise<Loaded> {
  const { arranged, progress, files, signal } = running;
  const { process: holdfastProcess, work } = arranged;
  const { clock } = holdfastProcess;
  const load: LoadProgress = { put: 0, putBytes: 0, overwritten: 0, deleted: 0, failures: [], putAt: new Map() };
  const upkeep = startUpkeep(holdfastProcess, work, always);
  try {
    const holdfast = createClient(holdfastProcess);
    const from = clock.now();
    let latest = await summaryNow(holdfastProcess);
    let replicatedAt = 0;
    const line = (what: string) => {
      const { queue, objects, underReplicated } = latest;
      const queued = queue.intent.objects + queue.transfer.objects + queue.cleanup.objects;
      return `${sinceStart(running)}  ${what}  put ${load.put}/${files.length}  at ${factor} copies ${objects - underReplicated}/${objects}  queue ${queued}`;
    };
    progress.phase(() => line('putting '));
    const loading = runLoad(holdfast, planLoad(files), load, () => clock.now(), signal);
    const watching = follow(holdfastProcess, loading, (summary) => {
      latest = summary;
    });
    await loading;
    await watching;
    await holdfast.close();
    const loadMs = clock.now() - from;
    progress.phase(() => line('settling'));
    const onRefresh = (summary: Findings['summary']) => {
      latest = summary;
      if (replicatedAt === 0 && summary.underReplicated === 0) replicatedAt = clock.now();
    };
    const { isSettled } = await untilSettled(holdfastProcess, onRefresh, signal);
    return { load, isSettled, loadMs, replicatedMs: (replicatedAt || clock.now()) - from };
  } finally {
    await upkeep.stop();
  }
}

/** Null when every step was seen; else which one was not, and why: those behind it would not find what they need. */
async function runSteps(running: Running, stage: Stage): Promise<string | null> {
  const { progress } = running;
  progress.say(`${sinceStart(running)}  every file has its copies; from here on, things go wrong`);
  const width = Math.max(...steps.map(({ name }) => name.length));
  for (const { name, run: show } of steps) {
    if (progress.isTerminal) progress.phase(() => `${sinceStart(running)}  ${name} …`);
    try {
      const seen = await show(stage);
      progress.say(`${sinceStart(running)}  ${name.padEnd(width)}  ${seen}`);
    } catch (error) {
      for (const { server } of stage.arranged.stack.backends) server.faults.clear();
      return `${name}: ${(error as Error).message}`;
    }
  }
  await stage.emptyQueue();
  return null;
}

function sinceStart({ startedAt }: Running): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(0).padStart(3)} s`;
}

/** Reads the fleet again and again while something runs. */
async function follow(
  holdfastProcess: Arranged['process'],
  running: Promise<void>,
  onRefresh: (summary: Findings['summary']) => void,
): Promise<void> {
  let isRunning = true;
  const end = () => {
    isRunning = false;
  };
  running.then(end, end);
  while (isRunning) {
    onRefresh(await summaryNow(holdfastProcess));
    await holdfastProcess.clock.sleep(250);
  }
}
