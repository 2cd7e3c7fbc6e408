import { type DoctorDeps, doctor } from '../../operations/doctor.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { TickReport } from '../../tick/tick.ts';
import { reconciler } from '../../workers/reconciler/reconciler.ts';
import { scrubKey } from '../../workers/scrubber/scrub-key.ts';
import { CommandError, UsageError } from '../failure.ts';
import { escaped, plural, table } from '../format.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

interface ReconcileOptions {
  readonly import?: boolean;
  readonly recover?: boolean;
  readonly apply?: boolean;
}

/** `scrub`, `reconcile`, `doctor`: looking closely, now. */
export const inspectVerbs: VerbGroup = (program, verb) => {
  verb(program.command('scrub <key>').description('read every copy of one object and say what each is like'), scrub);
  verb<ReconcileOptions>(
    program
      .command('reconcile <backend>')
      .description(
        'compare what a backend lists with what is recorded: one whole pass, resumed where the last one stopped',
      )
      .option('--import', 'import files that Holdfast did not write; they stay where and as they are')
      .option('--recover', 'rebuild records from the marks on our own bytes, after the tables were lost')
      .option('--apply', 'delete bytes of ours whose object is unknown, which a pass only reports'),
    reconcile,
  );
  verb(
    program.command('doctor').description('look at tables, buckets, owners and abilities, and say what is wrong'),
    examine,
  );
};

async function scrub(session: Session, [key]: Arguments): Promise<Result> {
  const holdfastProcess = session.process();
  const { report, isFound, verdicts } = await scrubKey(holdfastProcess, key!, holdfastProcess.clock.now() + 900_000);
  if (report.outcome === 'error') throw new CommandError('error', report.message ?? 'the scrub could not begin');
  if (report.outcome === 'busy') throw new CommandError('busy', 'Another `holdfast scrub` is running');
  if (!isFound) throw new CommandError('not-found', `There is no object "${escaped(key!)}"`);
  const rows = verdicts.map(({ backend, verdict, detail }) => [backend, verdict, detail ?? '']);
  const isFine = report.failed === 0;
  return { text: table(['BACKEND', 'VERDICT', ''], rows), document: { key, verdicts }, exitCode: isFine ? 0 : 1 };
}

/** Ticks this long at a time: after each, progress is shown, and a pass that is stopped loses at most one page. */
const stretchMs = 15_000;

async function reconcile(session: Session, [backend]: Arguments, options: ReconcileOptions): Promise<Result> {
  const { config } = await fleetNow(session);
  const names = config.file.backends.map(({ name }) => name);
  if (!names.includes(backend!))
    throw new UsageError(`There is no backend "${backend}" in the fleet file; there are ${names.join(', ')}`);
  const holdfastProcess = session.process();
  const found: Record<string, number> = {};
  for (;;) {
    const report = await runTick(holdfastProcess, reconciler, {
      deadline: holdfastProcess.clock.now() + stretchMs,
      reconcile: { backend: backend!, ...options },
    });
    if (report.outcome === 'error') throw new CommandError('error', report.message ?? 'the pass could not begin');
    if (report.outcome === 'busy') throw new CommandError('busy', `Another pass over "${backend}" is running`);
    for (const [what, times] of Object.entries(report.reasons)) found[what] = (found[what] ?? 0) + times;
    const isComplete = report.figures.passComplete === 1;
    if (!session.isJson) session.stderr.write(`${backend}: ${summary(found)}${isComplete ? '' : ' …'}\n`);
    if (isComplete || hasStopped(report)) return result(backend!, found, isComplete);
  }
}

/** A page that failed, or a usage limit: the pass is taken up again by the next call. */
function hasStopped(report: TickReport): boolean {
  return report.failed > 0 || report.deferred > 0;
}

function result(backend: string, found: Readonly<Record<string, number>>, isComplete: boolean): Result {
  const meaning = Object.entries(found).map(([what, times]) => [what, times, meanings[what] ?? '']);
  const text =
    meaning.length === 0
      ? `${backend}: nothing to do; listing and records agree`
      : table(['FOUND', 'KEYS', ''], meaning);
  const rest = isComplete ? '' : '\n\nThe pass did not reach its end: run it again, it goes on from here';
  return { text: text + rest, document: { backend, isComplete, found }, exitCode: isComplete ? 0 : 1 };
}

function summary(found: Readonly<Record<string, number>>): string {
  const total = Object.values(found).reduce((sum, times) => sum + times, 0);
  return total === 0 ? 'listing and records agree so far' : `${plural(total, 'key')} looked at closely`;
}

const meanings: Readonly<Record<string, string>> = {
  imported: 'files imported as objects, where and as they are',
  joined: 'files that are further copies of an object',
  conflict: 'files whose bytes differ from the object of that key: left alone',
  unmarked: 'files that Holdfast did not write: left alone (--import makes objects of them)',
  'foreign-mark': 'another fleet’s, or a person’s copies of ours: left alone',
  'left-behind': 'files of objects that were put or deleted since: left alone',
  'too-long': 'keys too long to be imported: left alone',
  orphan: 'bytes of ours that lost their record: queued for deletion',
  'no-record': 'bytes of ours whose object is unknown: left alone (--recover, or --apply)',
  'newer-than-record': 'bytes of ours newer than their record: left alone; was the metadata restored?',
  'taken-over': 'bytes of ours without a record since the take-over: left alone until --recover is complete',
  recovered: 'records rebuilt from marks',
  'missing-quarantined': 'recorded and not there: the record was corrected, a new copy follows',
  'removal-limit': 'not removed: too many removals on evidence today',
};

async function examine(session: Session): Promise<Result> {
  const holdfastProcess: DoctorDeps = session.process();
  const findings = await doctor(holdfastProcess);
  const problems = findings.filter(({ level }) => level === 'problem').length;
  const rows = findings.map(({ subject, level, sentence }) => [subject, level, sentence]);
  return { text: table(['', 'STATE', ''], rows), document: { findings }, exitCode: problems === 0 ? 0 : 1 };
}
