import { inDollars } from '../../base/amounts.ts';
import { defined } from '../../base/defined.ts';
import { importWarnings } from '../../operations/import-warnings.ts';
import { type ImportPlanning, type PlannedImport, planImport } from '../../operations/plan-import.ts';
import { type PassProgress, runPass } from '../../operations/run-pass.ts';
import { passMeanings } from '../../operations/say-pass.ts';
import { isRecoveryPending } from '../../store/recovery.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { ReconcileRequest } from '../../tick/tick.ts';
import { reconciler } from '../../workers/reconciler/reconciler.ts';
import { CommandError, UsageError } from '../failure.ts';
import { bytes, escaped, plural, table } from '../format.ts';
import { type SignalCode, stopSignal } from '../interrupt.ts';
import { assertAffordable } from '../max-usd.ts';
import { keepMemoryFlat } from '../memory.ts';
import { dollars } from '../numbers.ts';
import { createProgressLine } from '../progress-line.ts';
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
  verb<ImportFlags>(
    program
      .command('import <backend...>')
      .description('make objects of files that Holdfast did not write; they stay where and as they are')
      .option('--prefix <prefix>', 'only keys that begin like this')
      .option('--dry-run', 'count, say what it and the copies after it would cost, and change nothing')
      .option('--max-usd <n>', 'count first, and do not begin what may cost more than so many dollars', dollars),
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

interface ImportFlags {
  readonly prefix?: string;
  readonly dryRun?: boolean;
  readonly maxUsd?: number;
}

async function importFiles(
  session: Session,
  args: Arguments,
  { prefix, dryRun, maxUsd }: ImportFlags,
): Promise<Result> {
  const backends = await knownBackends(session, (args as unknown as readonly string[][])[0]!);
  const request: ReconcileRequest = { kind: 'import', backends, ...defined({ prefix }) };
  const command = `import ${backends.join(' ')}${prefix === undefined ? '' : ` --prefix ${escaped(prefix)}`}`;
  if (dryRun === true) return plannedResult(await planned(session, request));
  await sayUnencrypted(session, prefix);
  if (maxUsd !== undefined) {
    const counted = await planned(session, request);
    // What was not counted would cost something, too.
    if (!counted.planned.isComplete) return plannedResult(counted, 'Nothing was begun.');
    const { import: first, replication } = counted.planned;
    assertAffordable(command, first.usd + replication.usd, maxUsd);
  }
  return runVerb(session, request, command);
}

/** Before anything is imported: what has gone to other providers cannot be called back. */
async function sayUnencrypted(session: Session, wanted: string | undefined): Promise<void> {
  const { config } = await fleetNow(session);
  for (const warning of importWarnings(config.file, wanted)) session.stderr.write(`warning: ${warning}\n`);
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

async function runVerb(session: Session, request: ReconcileRequest, command: string): Promise<Result> {
  keepMemoryFlat();
  const holdfastProcess = session.process();
  const interrupt = stopSignal(session);
  const line = createProgressLine(session, holdfastProcess.clock);
  const since = holdfastProcess.clock.now();
  try {
    const run = await runPass(
      { ...holdfastProcess, tick: (event) => runTick(holdfastProcess, reconciler, event) },
      { ...request, since, onListed: line.listed },
      { stop: interrupt.signal, onProgress: line.reached },
    );
    line.end();
    if (run.outcome === 'error') throw new CommandError('error', run.message);
    if (run.outcome === 'busy') return keptWaiting(session, command, interrupt.endedBy());
    const stopped = run.outcome === 'stopped' ? interrupt.endedBy() : undefined;
    return resultOf({ ...request, since }, session.commandLine, stopped, run.progress);
  } finally {
    interrupt.end();
  }
}

/** Another process has the lease: waited for long enough, or until a signal ended the wait. */
function keptWaiting({ commandLine }: Session, command: string, stopped: SignalCode | undefined): Result {
  const whatIsSo = `Another \`holdfast ${command}\` is running`;
  if (stopped === undefined) throw new CommandError('busy', whatIsSo);
  const text = `${whatIsSo}, and the wait for its end was stopped: \`${escaped(commandLine)}\` goes on from here`;
  return { text, document: { isComplete: false, problems: [whatIsSo] }, exitCode: stopped };
}

interface Counted {
  readonly planned: Extract<ImportPlanning, { outcome: 'planned' }>;
  /** It was stopped by a signal. */
  readonly endedBy: SignalCode | undefined;
}

async function planned(session: Session, request: ReconcileRequest): Promise<Counted> {
  const holdfastProcess = session.process();
  const interrupt = stopSignal(session);
  const line = createProgressLine(session, holdfastProcess.clock);
  try {
    const planning = await planImport(
      { ...holdfastProcess, tick: (event) => runTick(holdfastProcess, reconciler, event) },
      { ...request, onListed: line.listed },
      interrupt.signal,
    );
    line.end();
    if (planning.outcome === 'error') throw new CommandError('error', planning.message);
    return { planned: planning, endedBy: interrupt.endedBy() };
  } finally {
    interrupt.end();
  }
}

function plannedResult({ planned: { outcome: _planned, ...plan }, endedBy }: Counted, end = ''): Result {
  const { isComplete, listed } = plan;
  const found = accountedFor(listed, plan.found);
  const rows = countRows(found);
  const { readBytes } = plan.import;
  const text = [
    rows.length === 0 ? 'no files to import' : table(['FOUND', 'KEYS', ''], rows),
    table(['COST', 'AMOUNT', 'USD'], costRows(plan)),
    readBytes > 0 ? `To tell what listings do not, up to ${bytes(readBytes)} would be read.` : '',
    'By the prices of the fleet file, and list prices of AWS where it names none; nothing was changed.',
    ...plan.warnings.map((warning) => `Warning: ${warning}.`),
    isComplete ? '' : 'Not every key was listed: these are the figures of what was.',
    end,
  ];
  const isWell = isComplete && found[unaccounted] === undefined;
  return {
    text: text.filter((part) => part !== '').join('\n\n'),
    document: { ...plan, found },
    exitCode: endedBy ?? (isWell ? 0 : 1),
  };
}

function costRows({ import: first, replication }: PlannedImport): (string | number)[][] {
  const usd = (amount: number) => inDollars(amount).slice(1);
  return [
    ['import: LIST requests', first.listRequests, ''],
    ['import: read units', first.readUnits, ''],
    ['import: write units', Math.round(first.writeUnits), ''],
    ['import: sum', '', usd(first.usd)],
    ['first replication: copies', replication.copies, ''],
    ['first replication: content', bytes(replication.bytes), ''],
    ['first replication: requests', replication.requests, ''],
    ['first replication: write units', Math.round(replication.writeUnits), ''],
    ...replication.egress.map((one) => [`first replication: egress of ${one.backend}`, bytes(one.bytes), usd(one.usd)]),
    ['first replication: sum', '', usd(replication.usd)],
  ];
}

function resultOf(
  request: ReconcileRequest,
  command: string,
  stopped: SignalCode | undefined,
  progress: PassProgress,
): Result {
  const { isComplete, listed, bytes: listedBytes, counts, named, problems } = progress;
  const found = request.kind === 'import' && isComplete ? accountedFor(listed, counts) : counts;
  const isWell = isComplete && !Object.keys(found).some((what) => isRefusal(what, request));
  const rows = countRows(found);
  const nothing =
    request.kind === 'import' ? sayNoKeys(request) : `${plural(listed, 'key')}: listing and records agree`;
  const summary = rows.length > 0 ? table(['FOUND', 'KEYS', ''], rows) : isComplete ? nothing : '';
  const names = named.map(({ what, backend, key }) => [what, backend, escaped(key)]);
  const parts = [
    summary,
    names.length === 0 ? '' : table(['', 'BACKEND', 'KEY'], names),
    problems.length === 0 || isComplete ? '' : `Held up: ${problems.join('; ')}`,
    isComplete ? '' : adviceOn(problems),
    isComplete
      ? sayWentOn(request, command, progress)
      : `The pass did not reach its end${stopped === undefined ? ' now' : ''}: \`${escaped(command)}\` goes on from here`,
  ];
  const document = { isComplete, listed, bytes: listedBytes, found, named, problems };
  const exitCode = isComplete ? undefined : stopped;
  return {
    text: parts.filter((part) => part !== '').join('\n\n'),
    document,
    exitCode: exitCode ?? (isWell ? 0 : 1),
  };
}

function sayNoKeys({ backends, prefix }: ReconcileRequest): string {
  const which = prefix === undefined ? 'No key is listed' : `No listed key begins with "${escaped(prefix)}"`;
  return `${which} on ${backends.join(' or ')}: nothing was imported`;
}

function adviceOn(problems: readonly string[]): string {
  const [name] = problems.flatMap((one) => /^(.+): unreachable$/.exec(one)?.slice(1) ?? []);
  return name === undefined ? '' : `\`holdfast status\` says why; \`holdfast probe ${name}\` asks at once`;
}

/** What an import that was broken off has gone through by then, it does not look at again. */
function sayWentOn({ kind, since = 0 }: ReconcileRequest, command: string, { beganAt }: PassProgress): string {
  if (kind !== 'import' || beganAt >= since) return '';
  const began = new Date(beganAt).toISOString();
  return `This went on with an import that began at ${began}: for files put since then, run \`${escaped(command)}\` again`;
}

const unaccounted = 'unaccounted';

/** Every listed key of an import has an end: where one has none that is said, and is no success. */
function accountedFor(listed: number, counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const counted = Object.values(counts).reduce((sum, times) => sum + times, 0);
  return counted === listed ? counts : { ...counts, [unaccounted]: listed - counted };
}

/** What a backend would not say. An import knows every other end by name. */
function isRefusal(what: string, { kind }: ReconcileRequest): boolean {
  if (what.startsWith('key-') || what.startsWith('elsewhere-') || what === 'undecided-unreadable') return true;
  return kind === 'import' && passMeanings[what] === undefined;
}

function countRows(counts: Readonly<Record<string, number>>): (string | number)[][] {
  return Object.entries(counts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, times]) => [what, times, passMeanings[what] ?? '']);
}
