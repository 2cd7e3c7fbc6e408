import { accessSync, constants, mkdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Console, startConsole } from '../../console/console.ts';
import { failureOf, UsageError } from '../failure.ts';
import { bytes, plural } from '../format.ts';
import { type EndingSignal, type SignalCode, signalCodes } from '../interrupt.ts';
import { type Arranged, arrange, factor } from './arrange.ts';
import { leftOut, sourceFiles } from './files.ts';
import { keepRunning } from './keep-running.ts';
import { startProgress } from './progress.ts';
import { describe, problemsOf } from './report.ts';
import { run } from './run.ts';

const usage = `Usage: npm start [-- [--keep] [--console] [folder]]

Puts every file of a folder [this project] through Holdfast on embedded servers,
lets the workers make two copies of each and clean up, then lets things go wrong:
a backend becomes unreachable, a writer is killed, a copy rots, somebody else puts a file,
a backend is drained, the fleet is uneven. At the end every copy is compared with
the files on disk.

Left out: ${[...leftOut].join(', ')}, and what is no regular file.

  --keep      leave everything running afterwards, until Ctrl-C
  --console   serve the console from the beginning, to watch it in a browser; implies --keep
`;

const flags = ['--keep', '--console'];
const root = fileURLToPath(new URL('../../../', import.meta.url));
const out = process.stdout;
const stopping = new AbortController();
let arranged: Arranged | undefined;
let served: Console | undefined;
let dir: string | undefined;
let cleaning: Promise<void> | undefined;
let isKept = false;
let interrupted: SignalCode = signalCodes.SIGINT;

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

function interrupt(signal: EndingSignal): void {
  if (stopping.signal.aborted) return;
  interrupted = signalCodes[signal];
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
  await served?.close();
  await arranged.process.close();
  await arranged.stack.close();
  rmSync(dir, { recursive: true, force: true });
}

async function demo(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg.startsWith('-') && !flags.includes(arg));
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
  if (args.includes('--console')) {
    served = await startConsole(arranged.process);
    out.write(`Console: ${served.url}\n`);
  }
  const progress = startProgress(arranged.process.clock, out);
  try {
    const findings = await run({ arranged, dir, progress, files, startedAt, signal: stopping.signal });
    await progress.stop();
    const problems = problemsOf(findings);
    out.write(`\n${describe(findings)}\n\n`);
    for (const problem of problems.slice(0, 20)) out.write(`PROBLEM  ${problem}\n`);
    if (problems.length > 20) out.write(`… and ${problems.length - 20} more\n`);
    out.write(problems.length === 0 ? 'All is well.\n' : `${plural(problems.length, 'problem')}.\n`);
    if (flags.some((flag) => args.includes(flag))) {
      isKept = true;
      await keepRunning(arranged, files[0]!.key, stopping.signal);
    }
    return problems.length === 0 ? 0 : 1;
  } finally {
    await progress.stop();
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
