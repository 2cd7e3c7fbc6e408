import { type DoctorDeps, doctor } from '../../operations/doctor.ts';
import { scrubKey } from '../../workers/scrubber/scrub-key.ts';
import { CommandError } from '../failure.ts';
import { escaped, table } from '../format.ts';
import type { Arguments, Result, Session, VerbGroup } from '../session.ts';

/** `scrub`, `doctor`: looking closely, now. */
export const inspectVerbs: VerbGroup = (program, verb) => {
  verb(program.command('scrub <key>').description('read every copy of one object and say whether it is good'), scrub);
  verb(
    program
      .command('doctor')
      .description('check tables, buckets, owner objects and capabilities, and say what is wrong'),
    examine,
  );
};

async function scrub(session: Session, [key]: Arguments): Promise<Result> {
  const holdfastProcess = session.process();
  const { report, isFound, verdicts } = await scrubKey(holdfastProcess, key!, 900_000);
  if (report.outcome === 'error') throw new CommandError('error', report.message ?? 'the scrub could not begin');
  if (report.outcome === 'busy')
    throw new CommandError('busy', 'Another `holdfast scrub` is running: try again when it has ended');
  if (!isFound) throw new CommandError('not-found', `There is no object "${escaped(key!)}"`);
  const rows = verdicts.map(({ backend, verdict, detail }) => [backend, verdict, detail ?? '']);
  const isFine = report.failed === 0;
  return { text: table(['BACKEND', 'VERDICT', ''], rows), document: { key, verdicts }, exitCode: isFine ? 0 : 1 };
}

async function examine(session: Session): Promise<Result> {
  const holdfastProcess: DoctorDeps = session.process();
  const findings = await doctor(holdfastProcess);
  const problems = findings.filter(({ level }) => level === 'problem').length;
  const rows = findings.map(({ subject, level, sentence }) => [subject, level, sentence]);
  return { text: table(['', 'STATE', ''], rows), document: { findings }, exitCode: problems === 0 ? 0 : 1 };
}
