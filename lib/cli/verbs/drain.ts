import { parseParameters } from '../../config/parameters.ts';
import { type DrainStatus, drain, drainStatus } from '../../operations/drain.ts';
import { planDrain } from '../../operations/drain-plan.ts';
import { type Forgotten, forget } from '../../operations/forget.ts';
import { sayDrainPlan, sayDrainWarning, sayUndrained, sayWaiting } from '../../operations/say-drain.ts';
import { undrain } from '../../operations/undrain.ts';
import { standingOf } from '../../store/fleet-view.ts';
import { ask } from '../ask.ts';
import { CommandError, UsageError } from '../failure.ts';
import { bytes, escaped, plural, table, timestamp } from '../format.ts';
import { assertAffordable } from '../max-usd.ts';
import { dollars } from '../numbers.ts';
import { fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

interface DrainFlags {
  readonly deleteImported?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly maxUsd?: number;
}

type Arguments = readonly (string | undefined)[];

/** `drain`, `undrain`, `forget`: taking a backend out of service. */
export const drainVerbs: VerbGroup = (program, verb) => {
  verb<DrainFlags>(
    program
      .command('drain <backend>')
      .description('move everything off a backend; once it drains, show how far that has come')
      .option('--delete-imported', 'delete imported files there once they are elsewhere; else they stay where they are')
      .option('--dry-run', 'say what it would do, and do nothing')
      .option('--max-usd <n>', 'do not begin what may cost more than so many dollars', dollars)
      .option('--yes', 'do not ask; where nobody is there to be asked, it begins at once, and `undrain` ends it'),
    beginDrain,
  );
  verb(program.command('undrain <backend>').description('let a backend take part again'), endDrain);
  verb(
    program
      .command('forget <backend>')
      .description(
        'give up a backend that is gone for good and out of the fleet file; last copies are listed and kept',
      ),
    giveUp,
  );
};

async function beginDrain(session: Session, [name]: Arguments, flags: DrainFlags): Promise<Result> {
  const { deleteImported } = flags;
  const fleet = await fleetNow(session);
  const backends = fleet.config.file.backends.map((backend) => backend.name);
  const { unhealthyAfterMs } = parseParameters(session.env, fleet.settings.overrides);
  const now = session.process().clock.now();
  const plan = planDrain(fleet, name!, (one) => standingOf(fleet, one, now, unhealthyAfterMs));
  const says = sayDrainPlan(name!, plan, deleteImported === true);
  if (flags.dryRun === true && backends.includes(name!))
    return { text: says, document: { backend: name, outcome: 'dry-run', plan } };
  // Once it drains, what is left is what is told.
  const isFirst = fleet.drain(name!) === undefined;
  if (isFirst) assertAffordable(`drain "${name}"`, plan.usd, flags.maxUsd);
  const isAsked = isFirst && flags.yes !== true && backends.includes(name!);
  const answer = isAsked ? await ask(session, `${says}\nDrain ${name}? [y/N] `) : 'yes';
  if (answer === 'no')
    return { text: 'Nothing was begun', document: { backend: name, outcome: 'declined', plan }, exitCode: 1 };
  const begun = await drain(session.process(), name!, { deleteImported: deleteImported === true });
  assertBegun(name!, begun, backends);
  const status = await drainStatus(session.process(), name!);
  const text = describeDrain(name!, status);
  if (!isFirst) return { text, document: { backend: name, ...status } };
  return {
    text: isAsked && answer !== 'nobody' ? text : `${says}\n${text}`,
    document: { backend: name, ...status, plan },
  };
}

/** Throws where a drain did not begin. */
function assertBegun(name: string, begun: Awaited<ReturnType<typeof drain>>, backends: readonly string[]): void {
  if (begun.outcome === 'not-configured')
    throw new UsageError(`There is no backend "${name}" in the fleet file; there are ${backends.join(', ')}`);
  if (begun.outcome === 'contended') throw contended('drain', name);
  if (begun.outcome === 'recovering') throw recovering('drain', name);
  if (begun.outcome === 'too-few')
    throw new CommandError(
      'too-few-backends',
      `Cannot drain backend "${name}": ${plural(begun.remaining, 'backend')} would remain, fewer than the factor of ${begun.policies.map((policy) => `policy "${policy}"`).join(', ')}`,
    );
}

function describeDrain(name: string, status: DrainStatus): string {
  switch (status.outcome) {
    case 'not-draining':
      return `${name} does not drain`;
    case 'drained':
      return `${name} is drained: nothing names it, and it can leave the fleet file`;
    case 'recovering':
      return `${name} drains; what it holds is not known before \`holdfast recover\` is complete`;
    case 'settling':
      return `${name} is empty; what was decided before may still be under way until ${timestamp(status.settledAt)}`;
    case 'draining': {
      const { since, copies, damaged, queue, warnings, waiting } = status;
      const queued = Object.values(queue).reduce((sum, { objects }) => sum + objects, 0);
      const left = `${plural(copies.objects, 'object')} (${bytes(copies.bytes)}), ${plural(queued, 'queue item')}`;
      const stuck = damaged.objects === 0 ? '' : `; ${damaged.objects} of them damaged: \`holdfast scrub <key>\``;
      const state = `${name} drains since ${timestamp(since)}; left: ${left}${stuck}`;
      return [
        state,
        ...warnings.map((warning) => `Warning: ${sayDrainWarning(name, warning)}`),
        ...waiting.map((one) => `Waiting: ${sayWaiting(name, one)}`),
      ].join('\n');
    }
  }
}

async function endDrain(session: Session, [name]: Arguments): Promise<Result> {
  await fleetNow(session);
  session.ifBrokenOff(
    `Whether ${name} takes part again, \`holdfast status\` says; \`${session.commandLine}\` goes on where it was`,
  );
  const undrained = await undrain(session.process(), name!);
  if (undrained.outcome === 'contended') throw contended('undrain', name!);
  if (undrained.outcome === 'recovering') throw recovering('undrain', name!);
  const exitCode = undrained.outcome === 'undrained' && undrained.unsure.length > 0 ? 1 : 0;
  return { text: sayUndrained(name!, undrained), document: { backend: name, ...undrained }, exitCode };
}

async function giveUp(session: Session, [name]: Arguments): Promise<Result> {
  await fleetNow(session);
  session.ifBrokenOff(`${name} may be forgotten in part: \`${session.commandLine}\` goes on from here`);
  const forgotten = await forget(session.process(), name!);
  if (forgotten.outcome === 'configured')
    throw new CommandError(
      'configured',
      `Cannot forget backend "${name}": it is in the fleet file; drain it, or take it out of the file and apply that first`,
    );
  if (forgotten.outcome === 'recovering') throw recovering('forget', name!);
  const exitCode = forgotten.outcome === 'forgotten' ? 0 : 1;
  return { text: describeForgotten(name!, forgotten), document: { backend: name, ...forgotten }, exitCode };
}

function describeForgotten(name: string, { outcome, removed, ended, lastCopies }: Forgotten): string {
  const done = `${plural(removed, 'copy').replace(/copys$/, 'copies')} left the records, ${plural(ended, 'queue item')} ended`;
  if (outcome === 'forgotten' && removed + ended === 0) return `nothing is recorded of ${name}`;
  if (outcome === 'forgotten') return `${name} is forgotten: ${done}`;
  const rows = lastCopies.map(({ key, sizeBytes, condition }) => [
    escaped(key),
    bytes(sizeBytes),
    condition === 'sound' ? '' : condition,
  ]);
  const list = rows.length === 0 ? '' : `\n\n${table(['LAST COPY', 'SIZE', ''], rows)}`;
  if (outcome === 'unfinished') return `not finished: ${done}; run it again${list}`;
  return `${done}; ${plural(lastCopies.length, 'object')} had no other good copy and stay recorded: rm them, or bring the backend back${list}`;
}

function recovering(what: string, name: string): CommandError {
  return new CommandError(
    'recovering',
    `Cannot ${what} backend "${name}": the tables may know less than the buckets hold; \`holdfast recover\` first`,
  );
}

function contended(what: string, name: string): CommandError {
  return new CommandError('contended', `Cannot ${what} backend "${name}": its record kept changing; try again`);
}
