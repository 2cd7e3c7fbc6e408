import { setFlagsFromString } from 'node:v8';
import { defined } from '../../base/defined.ts';
import { type PassProgress, runPass } from '../../operations/run-pass.ts';
import { isRecoveryPending } from '../../store/recovery.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { ReconcileRequest } from '../../tick/tick.ts';
import { reconciler } from '../../workers/reconciler/reconciler.ts';
import { CommandError, UsageError } from '../failure.ts';
import { escaped, plural, table } from '../format.ts';
import { stopSignal } from '../interrupt.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

/** `reconcile`, `import`, `recover`: whole passes over buckets, to their end. */
export const passVerbs: VerbGroup = (program, verb) => {
  verb<{ readonly deleteUnrecorded?: boolean }>(
    program
      .command('reconcile <backend>')
      .description(
        'compare what a backend lists with what is recorded: one whole pass, taken up where the last one stopped',
      )
      .option('--delete-unrecorded', 'delete bytes of ours whose object is unknown, which a pass only reports'),
    reconcile,
  );
  verb<{ readonly prefix?: string; readonly dryRun?: boolean }>(
    program
      .command('import <backend...>')
      .description('make objects of files that Holdfast did not write; they stay where and as they are')
      .option('--prefix <prefix>', 'only keys that begin like this')
      .option('--dry-run', 'count, and change nothing'),
    importFiles,
  );
  verb<RecoverOptions>(
    program
      .command('recover')
      .description('rebuild records from the marks on our own bytes, after the tables were lost or restored')
      .option(
        '--accept-newer <key...>',
        'take newer bytes that one backend alone holds, or whose clock was ahead, as the content of these objects',
      )
      .option('--delete-superseded', 'queue what a complete recovery passed over, older than its record, for deletion'),
    recover,
  );
};

async function reconcile(
  session: Session,
  [backend]: Arguments,
  { deleteUnrecorded }: { readonly deleteUnrecorded?: boolean },
): Promise<Result> {
  await knownBackends(session, [backend!]);
  const kind = deleteUnrecorded === true ? 'delete-unrecorded' : 'sweep';
  return runVerb(session, { kind, backends: [backend!] }, `reconcile ${backend}`);
}

async function importFiles(
  session: Session,
  args: Arguments,
  { prefix, dryRun }: { readonly prefix?: string; readonly dryRun?: boolean },
): Promise<Result> {
  const backends = await knownBackends(session, (args as unknown as readonly string[][])[0]!);
  const request: ReconcileRequest = { kind: 'import', backends, ...defined({ prefix }) };
  const command = `import ${backends.join(' ')}${prefix === undefined ? '' : ` --prefix ${escaped(prefix)}`}`;
  return dryRun === true ? dryRunVerb(session, request) : runVerb(session, request, command);
}

interface RecoverOptions {
  readonly acceptNewer?: readonly string[];
  readonly deleteSuperseded?: boolean;
}

async function recover(session: Session, _args: Arguments, options: RecoverOptions): Promise<Result> {
  const { acceptNewer = [], deleteSuperseded } = options;
  const view = await fleetNow(session);
  const backends = view.config.file.backends.map(({ name }) => name);
  if (deleteSuperseded !== true) return runVerb(session, { kind: 'recover', backends, acceptNewer }, 'recover');
  if (acceptNewer.length > 0)
    throw new UsageError('--accept-newer and --delete-superseded are two steps, one after the other');
  if (isRecoveryPending(view))
    throw new CommandError('recovery-pending', 'The recovery is not complete: run `holdfast recover` first');
  return runVerb(session, { kind: 'delete-superseded', backends }, 'recover --delete-superseded');
}

async function knownBackends(session: Session, wanted: readonly string[]): Promise<string[]> {
  const { config } = await fleetNow(session);
  const names = config.file.backends.map(({ name }) => name);
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`There is no backend "${unknown}" in the fleet file; there are ${names.join(', ')}`);
  return names.filter((name) => wanted.includes(name));
}

/**
 * A pass makes and drops much, for hours: by itself Node lets the youngest objects take 128 MiB before it looks which of them
 * are still needed. They keep what they have taken so far, a few MiB.
 */
function keepMemoryFlat(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

async function runVerb(session: Session, request: ReconcileRequest, command: string): Promise<Result> {
  keepMemoryFlat();
  const holdfastProcess = session.process();
  const interrupt = stopSignal();
  const startedAt = holdfastProcess.clock.now();
  try {
    const run = await runPass(
      { ...holdfastProcess, tick: (event) => runTick(holdfastProcess, reconciler, event) },
      request,
      { stop: interrupt.signal, onProgress: (progress) => showProgress(session, progress, startedAt) },
    );
    if (run.outcome === 'error') throw new CommandError('error', run.message);
    if (run.outcome === 'busy') throw new CommandError('busy', `Another \`holdfast ${command}\` is running`);
    return resultOf(command, run.outcome === 'stopped', run.progress);
  } finally {
    interrupt.end();
  }
}

async function dryRunVerb(session: Session, request: ReconcileRequest): Promise<Result> {
  const holdfastProcess = session.process();
  const hourMs = 3_600_000;
  const report = await runTick(holdfastProcess, reconciler, {
    deadline: holdfastProcess.clock.now() + 24 * hourMs,
    reconcile: request,
    dryRun: true,
  });
  if (report.outcome === 'error') throw new CommandError('error', report.message ?? 'the pass could not begin');
  const { 'dry-run': would = 0, ...others } = report.reasons;
  const counts = { ...others, ...(would > 0 && { 'would-import': would }) };
  const isComplete = report.figures.passComplete === 1 && report.failed === 0;
  const rows = countRows(counts);
  const text = rows.length === 0 ? 'no files to import' : table(['FOUND', 'KEYS', ''], rows);
  return { text, document: { isComplete, found: counts }, exitCode: isComplete ? 0 : 1 };
}

/** One line that is written over itself in a terminal; a line of its own elsewhere. */
function showProgress({ isJson, stderr }: Session, progress: PassProgress, startedAt: number): void {
  if (isJson) return;
  const { listed, ranges, isComplete } = progress;
  const seconds = Math.max(1, (Date.now() - startedAt) / 1000);
  const share = ranges.all === 0 ? '' : ` · ${ranges.done} of ${plural(ranges.all, 'range')} done`;
  const line = `${plural(listed, 'key')} · ${Math.round(listed / seconds)} a second${share}`;
  const isTerminal = 'isTTY' in stderr && stderr.isTTY === true;
  if (!isTerminal) stderr.write(`${line}\n`);
  else stderr.write(`\r${line}\u001b[K${isComplete ? '\n' : ''}`);
}

function resultOf(command: string, wasStopped: boolean, progress: PassProgress): Result {
  const { isComplete, listed, counts, named, problems } = progress;
  const refused = Object.keys(counts).some((what) => what.startsWith('key-') || what.startsWith('elsewhere-'));
  const isWell = isComplete && !refused;
  const rows = countRows(counts);
  const summary =
    rows.length === 0 ? `${plural(listed, 'key')}: listing and records agree` : table(['FOUND', 'KEYS', ''], rows);
  const names = named.map(({ what, backend, key }) => [what, backend, escaped(key)]);
  const parts = [
    summary,
    names.length === 0 ? '' : table(['', 'BACKEND', 'KEY'], names),
    problems.length === 0 || isComplete ? '' : `Held up: ${problems.join('; ')}`,
    isComplete
      ? ''
      : `The pass did not reach its end${wasStopped ? '' : ' now'}: \`holdfast ${command}\` goes on from here`,
  ];
  const document = { isComplete, listed, found: counts, named, problems };
  return { text: parts.filter((part) => part !== '').join('\n\n'), document, exitCode: isWell ? 0 : 1 };
}

function countRows(counts: Readonly<Record<string, number>>): (string | number)[][] {
  return Object.entries(counts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, times]) => [what, times, meanings[what] ?? '']);
}

const meanings: Readonly<Record<string, string>> = {
  imported: 'files that are objects now, where and as they are',
  'would-import': 'files that would become objects, or further copies of one',
  known: 'files that are objects already',
  ours: 'bytes that Holdfast wrote',
  joined: 'files that are further copies of an object',
  conflict: 'files whose bytes differ from the object of that key: left alone',
  unmarked: 'files that Holdfast did not write: left alone (`holdfast import` makes objects of them)',
  'foreign-mark': 'another fleet’s, or a person’s copies of ours: left alone',
  'left-behind': 'files of objects that were put or deleted since: left alone',
  'too-long': 'keys too long to be imported: left alone',
  'odd-key': 'keys that cannot be looked up: left alone',
  'unreadable-key': 'keys that cannot be read: left alone',
  gone: 'files that were listed, and are not there any more',
  queued: 'bytes that are queued for deletion: left alone',
  draining: 'files on a backend that drains: left alone',
  orphan: 'bytes of ours that lost their record: queued for deletion',
  'no-record': 'bytes of ours whose object is unknown: left alone (`holdfast recover`, or --delete-unrecorded)',
  'newer-than-record': 'bytes of ours newer than their record: left alone; was the metadata restored?',
  'taken-over': 'bytes of ours without a record since the take-over: left alone until `holdfast recover` is complete',
  recovered: 'records rebuilt from marks',
  'missing-quarantined': 'recorded and not there: the record was corrected, a new copy follows',
  'removal-limit': 'not removed: too many removals on evidence today',
};
