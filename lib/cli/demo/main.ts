import { accessSync, constants, mkdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '../../client/client.ts';
import { recount } from '../../workers/recount.ts';
import { failureOf, UsageError } from '../failure.ts';
import { bytes, plural } from '../format.ts';
import { type Arranged, arrange, factor } from './arrange.ts';
import { leftOut, type SourceFile, sourceFiles } from './files.ts';
import { type LoadProgress, planLoad, runLoad } from './load.ts';
import { lookAround } from './look-around.ts';
import { type Progress, startProgress } from './progress.ts';
import { describe, type Findings, problemsOf } from './report.ts';
import { summaryNow, untilSettled } from './settle.ts';
import { startUpkeep, type Upkeep } from './upkeep.ts';
import { verifyCopies } from './verify.ts';

const usage = `Usage: npm start [-- [--keep] [folder]]

Puts every file of a folder [this project] through Holdfast on embedded servers,
lets the workers make two copies of each and clean up, and compares every copy
with the files on disk.

Left out: ${[...leftOut].join(', ')}, and what is no regular file.

  --keep   leave everything running afterwards, until Ctrl-C
`;

const root = fileURLToPath(new URL('../../../', import.meta.url));
const out = process.stdout;
const stopping = new AbortController();
let arranged: Arranged | undefined;
let dir: string | undefined;
let cleaning: Promise<void> | undefined;
let isKept = false;
/** As a shell says of a command that Ctrl-C ended. */
const interrupted = 130;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    out.write(usage);
    return 0;
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  try {
    return await demo(args);
  } catch (error) {
    if (stopping.signal.aborted) return interrupted;
    const { sentence, exitCode } = failureOf(error);
    process.stderr.write(`\nerror: ${sentence}\n`);
    return exitCode;
  } finally {
    await cleanUp();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt);
  }
}

function interrupt(): void {
  if (stopping.signal.aborted) return;
  stopping.abort();
  out.write('\ncleaning up\n');
  // After a run that was kept, the end is waited for in its place; everything else ends here.
  if (!isKept) void cleanUp().finally(() => process.exit(interrupted));
}

/** Once, however many ask for it. */
function cleanUp(): Promise<void> {
  cleaning ??= close();
  return cleaning;
}

async function close(): Promise<void> {
  if (arranged === undefined || dir === undefined) return;
  await arranged.process.close();
  await arranged.stack.close();
  rmSync(dir, { recursive: true, force: true });
}

async function demo(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg.startsWith('-') && arg !== '--keep');
  const folders = args.filter((arg) => !arg.startsWith('-'));
  if (unknown !== undefined || folders.length > 1) throw new UsageError(`Bad arguments\n\n${usage}`);
  const folder = resolve(folders[0] ?? root);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`"${folder}" is no folder`);
  const files = await sourceFiles(folder, folders.length === 0);
  if (files.length === 0) throw new UsageError(`"${folder}" holds no files`);
  const startedAt = performance.now();
  const fileBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  out.write(`${plural(files.length, 'file')} of ${folder}, ${bytes(fileBytes)} → 3 backends, ${factor} copies each\n`);
  dir = workFolder();
  arranged = await arrange(dir, fileBytes);
  const progress = startProgress(arranged.process.clock, out);
  const upkeep = startUpkeep(arranged.process);
  try {
    const findings = await run(arranged, upkeep, progress, files, startedAt);
    await progress.stop();
    const problems = problemsOf(findings);
    out.write(`\n${describe(findings)}\n\n`);
    for (const problem of problems.slice(0, 20)) out.write(`PROBLEM  ${problem}\n`);
    if (problems.length > 20) out.write(`… and ${problems.length - 20} more\n`);
    out.write(problems.length === 0 ? 'All is well.\n' : `${plural(problems.length, 'problem')}.\n`);
    if (args.includes('--keep')) {
      isKept = true;
      await lookAround(arranged, files[0]!.key, stopping.signal);
    }
    return problems.length === 0 ? 0 : 1;
  } finally {
    await progress.stop();
    await upkeep.stop();
  }
}

async function run(
  { process: wired, stack, buckets, deletedItems }: Arranged,
  upkeep: Upkeep,
  progress: Progress,
  files: readonly SourceFile[],
  startedAt: number,
): Promise<Findings> {
  const { clock } = wired;
  const load: LoadProgress = { put: 0, putBytes: 0, overwritten: 0, deleted: 0, failures: [], putAt: new Map() };
  const holdfast = createClient(wired);
  const loadedFrom = clock.now();
  let look = await summaryNow(wired);
  let replicatedAt = 0;
  const line = (what: string) => {
    const { queue, objects, underReplicated } = look;
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    return `${seconds.padStart(3)} s  ${what}  put ${load.put}/${files.length}  at ${factor} copies ${objects - underReplicated}/${objects}  queue ${queue.intent.objects + queue.transfer.objects + queue.cleanup.objects}  deleted ${deletedItems()}`;
  };
  progress.phase(() => line('putting '));
  const loading = runLoad(holdfast, planLoad(files), load, () => clock.now(), stopping.signal);
  const watching = follow(wired, loading, (summary) => {
    look = summary;
  });
  await loading;
  await watching;
  await holdfast.close();
  const loadMs = clock.now() - loadedFrom;
  progress.phase(() => line('settling'));
  const standing = await untilSettled(
    wired,
    (summary) => {
      look = summary;
      if (replicatedAt === 0 && summary.underReplicated === 0) replicatedAt = clock.now();
    },
    stopping.signal,
  );
  const settledMs = clock.now() - loadedFrom;
  await upkeep.stop();
  let compared = 0;
  progress.phase(
    () =>
      `${line('checking').slice(0, 15)}  ${compared}/${files.length * factor} copies compared with the files on disk`,
  );
  const checkFrom = clock.now();
  const check = await verifyCopies(buckets, files, factor, { putAt: load.putAt, waiting: standing.waiting }, () => {
    compared += 1;
  });
  const checkMs = clock.now() - checkFrom;
  const recounted = await recount(wired, false);
  return {
    files: files.length,
    fileBytes: load.putBytes,
    load,
    upkeep,
    standing,
    summary: await summaryNow(wired),
    check,
    recounted,
    deletedItems: deletedItems(),
    backends: stack.backends,
    ms: {
      load: loadMs,
      replicated: (replicatedAt || clock.now()) - loadedFrom,
      settled: settledMs,
      check: checkMs,
      total: performance.now() - startedAt,
    },
  };
}

/** Looks at the fleet again and again while something runs. */
async function follow(
  wired: Arranged['process'],
  running: Promise<void>,
  onLook: (summary: Findings['summary']) => void,
): Promise<void> {
  let isRunning = true;
  const end = () => {
    isRunning = false;
  };
  running.then(end, end);
  while (isRunning) {
    onLook(await summaryNow(wired));
    await wired.clock.sleep(250);
  }
}

/** In the project, where it can be found; elsewhere when that cannot be written. */
function workFolder(): string {
  try {
    accessSync(root, constants.W_OK);
    const own = join(root, '.holdfast', 'demo');
    mkdirSync(own, { recursive: true });
    return own;
  } catch {
    return join(tmpdir(), `holdfast-demo-${process.getuid?.() ?? 'user'}`);
  }
}
