import {
  pauseWorker,
  resumeWorker,
  type SettingsChanged,
  setParameter,
  unsetParameter,
} from '../../operations/settings.ts';
import { CommandError, UsageError } from '../failure.ts';
import { table } from '../format.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

/** `pause`, `resume`, `set`, `unset`: what every process obeys from its next look at the fleet on. */
export const settingsVerbs: VerbGroup = (program, verb) => {
  verb(program.command('pause <worker>').description('let the ticks of a worker do nothing'), pause);
  verb(program.command('resume <worker>').description('undo pause'), resume);
  verb(
    program.command('set [name] [value]').description('override a tuning parameter everywhere, or list overrides'),
    set,
  );
  verb(program.command('unset <name>').description('undo set'), unset);
};

async function pause(session: Session, [worker]: Arguments): Promise<Result> {
  await fleetNow(session);
  return told(`${worker} is paused`, await pauseWorker(session.process(), worker!));
}

async function resume(session: Session, [worker]: Arguments): Promise<Result> {
  await fleetNow(session);
  return told(`${worker} runs`, await resumeWorker(session.process(), worker!));
}

async function set(session: Session, [name, value]: Arguments): Promise<Result> {
  if (name === undefined) return list(session);
  if (value === undefined)
    throw new UsageError(`Cannot set ${name}: its value is missing; \`holdfast unset ${name}\` ends what is set`);
  await fleetNow(session);
  return told(`${name} is ${value} from now on`, await setParameter(session.process(), name, value));
}

async function unset(session: Session, [name]: Arguments): Promise<Result> {
  await fleetNow(session);
  return told(`${name} is what each environment says`, await unsetParameter(session.process(), name!));
}

function told(done: string, changed: SettingsChanged): Result {
  if (changed.outcome === 'refused') throw new UsageError(changed.sentence);
  if (changed.outcome === 'contended')
    throw new CommandError('conflict', 'Cannot change the settings: other processes keep changing them; try again');
  return { text: done, document: changed.settings };
}

async function list(session: Session): Promise<Result> {
  const { settings } = await fleetNow(session);
  const rows = Object.entries(settings.overrides).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = rows.length === 0 ? 'nothing is set' : table(['PARAMETER', 'VALUE'], rows);
  return { text, document: settings };
}
