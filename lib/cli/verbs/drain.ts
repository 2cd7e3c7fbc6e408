import { parseParameters } from '../../config/parameters.ts';
import { type DrainStatus, drain, drainStatus } from '../../operations/drain.ts';
import { type DrainPlan, planDrain } from '../../operations/drain-plan.ts';
import type { DrainWarning } from '../../operations/drain-warnings.ts';
import { type Forgotten, forget } from '../../operations/forget.ts';
import { type DrainedBytes, type Undrained, undrain } from '../../operations/undrain.ts';
import { standingOf } from '../../store/fleet-view.ts';
import { CommandError, UsageError } from '../failure.ts';
import { bytes, escaped, plural, table, timestamp } from '../format.ts';
import { fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

interface DrainFlags {
  readonly deleteImported?: boolean;
  readonly dryRun?: boolean;
}

type Arguments = readonly (string | undefined)[];

/** `drain`, `undrain`, `forget`: taking a backend out of service. */
export const drainVerbs: VerbGroup = (program, verb) => {
  verb<DrainFlags>(
    program
      .command('drain <backend>')
      .description('move everything off a backend; once it drains, show how far that has come')
      .option('--delete-imported', 'delete imported files there once they are elsewhere; else they stay where they are')
      .option('--dry-run', 'say what it would do, and do nothing'),
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
  const says = describePlan(name!, plan, deleteImported === true);
  if (flags.dryRun === true && backends.includes(name!))
    return { text: says, document: { backend: name, outcome: 'dry-run', plan } };
  // Once it drains, what is left is what is told.
  const isFirst = fleet.drain(name!) === undefined;
  const begun = await drain(session.process(), name!, { deleteImported: deleteImported === true });
  if (begun.outcome === 'not-configured')
    throw new UsageError(`There is no backend "${name}" in the fleet file; there are ${backends.join(', ')}`);
  if (begun.outcome === 'contended') throw contended('drain', name!);
  if (begun.outcome === 'recovering') throw recovering('drain', name!);
  if (begun.outcome === 'too-few')
    throw new CommandError(
      'too-few-backends',
      `Cannot drain backend "${name}": ${plural(begun.remaining, 'backend')} would remain, fewer than the factor of ${begun.policies.map((policy) => `policy "${policy}"`).join(', ')}`,
    );
  const status = await drainStatus(session.process(), name!);
  const text = describeDrain(name!, status);
  if (!isFirst) return { text, document: { backend: name, ...status } };
  return { text: `${says}\n${text}`, document: { backend: name, ...status, plan } };
}

function describePlan(name: string, { holds, copies, imported, egressUsd }: DrainPlan, deletes: boolean): string {
  const price = egressUsd === 0 ? '' : `, at most $${egressUsd.toFixed(2)} for egress`;
  const files =
    imported.objects === 0
      ? ''
      : `; ${plural(imported.objects, 'imported file')} ${deletes ? 'are deleted once they are elsewhere' : 'stay where they are'}`;
  const copyCount = plural(copies.objects, 'copy').replace(/copys$/, 'copies');
  return `To drain ${name}, which holds ${plural(holds.objects, 'object')}: ${copyCount} to make elsewhere (${bytes(copies.bytes)}${price})${files}`;
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
      const { since, copies, damaged, queue, warnings } = status;
      const queued = Object.values(queue).reduce((sum, { objects }) => sum + objects, 0);
      const left = `${plural(copies.objects, 'object')} (${bytes(copies.bytes)}), ${plural(queued, 'queue item')}`;
      const stuck = damaged.objects === 0 ? '' : `; ${damaged.objects} of them damaged: \`holdfast scrub <key>\``;
      const state = `${name} drains since ${timestamp(since)}; left: ${left}${stuck}`;
      return [state, ...warnings.map((warning) => `Warning: ${sentenceOf(name, warning)}`)].join('\n');
    }
  }
}

function sentenceOf(name: string, found: DrainWarning): string {
  switch (found.warning) {
    case 'no-target': {
      const { policy, copies } = found;
      return `${plural(copies.objects, 'object')} (${bytes(copies.bytes)}) of policy "${policy}" can go to no other backend: they stay on ${name} until there is one`;
    }
    case 'no-room': {
      const { backends, copies, freeBytes } = found;
      return `${backends.join(' and ')} have room for ${bytes(freeBytes)}, and ${bytes(copies.bytes)} (${plural(copies.objects, 'copy').replace(/copys$/, 'copies')}) must go there: the drain stops when they are full; raise their quota, or add a backend`;
    }
    case 'unreachable': {
      const { policy, factor, answering } = found;
      const who = answering.length === 0 ? 'none' : `only ${answering.join(' and ')}`;
      return `policy "${policy}" asks for ${plural(factor, 'backend')}, and of those that remain ${who} can be reached now`;
    }
  }
}

async function endDrain(session: Session, [name]: Arguments): Promise<Result> {
  await fleetNow(session);
  const undrained = await undrain(session.process(), name!);
  if (undrained.outcome === 'contended') throw contended('undrain', name!);
  if (undrained.outcome === 'recovering') throw recovering('undrain', name!);
  const exitCode = undrained.outcome === 'undrained' && undrained.unsure.length > 0 ? 1 : 0;
  return { text: describeUndrained(name!, undrained), document: { backend: name, ...undrained }, exitCode };
}

function describeUndrained(name: string, undrained: Undrained): string {
  if (undrained.outcome !== 'undrained') return `${name} does not drain`;
  const { rejoined, deleted, deletedBefore, unsure } = undrained;
  const list = (what: string, all: readonly DrainedBytes[]) =>
    all.length === 0 ? [] : [`${what}: ${all.map(({ storageKey }) => escaped(storageKey)).join(', ')}`];
  return [
    `${name} takes part again; ${plural(rejoined, 'copy').replace(/copys$/, 'copies')} rejoined. Files that stayed rejoin with its next pass, or with \`holdfast import ${name}\``,
    ...(deletedBefore.objects === 0
      ? []
      : [
          `The drain had deleted ${plural(deletedBefore.objects, 'imported file')} (${bytes(deletedBefore.bytes)}); its audit lines name them`,
        ]),
    ...list('Deleted while the drain ended', deleted),
    ...list('Perhaps deleted, the backend does not answer', unsure),
  ].join('\n');
}

async function giveUp(session: Session, [name]: Arguments): Promise<Result> {
  await fleetNow(session);
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
