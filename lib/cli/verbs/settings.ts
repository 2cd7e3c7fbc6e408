import { parameterProblem, parameters, workerNames } from '../../config/parameters.ts';
import type { Settings } from '../../store/fleet-view.ts';
import { fleetKey, rowKeys } from '../../store/row-keys.ts';
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
  const name = known(worker!);
  return change(session, `${name} is paused`, ({ overrides, paused }) => ({
    overrides,
    paused: [...new Set([...paused, name])].sort(),
  }));
}

async function resume(session: Session, [worker]: Arguments): Promise<Result> {
  const name = known(worker!);
  return change(session, `${name} runs`, ({ overrides, paused }) => ({
    overrides,
    paused: paused.filter((other) => other !== name),
  }));
}

async function set(session: Session, [name, value]: Arguments): Promise<Result> {
  if (name === undefined) return list(session);
  if (value === undefined) throw new UsageError(`set ${name} needs a value`);
  const problem = parameterProblem(name, value) ?? deploymentProblem(name);
  if (problem !== null) throw new UsageError(problem);
  return change(session, `${name} is ${value} from now on`, ({ overrides, paused }) => ({
    overrides: { ...overrides, [name]: value },
    paused,
  }));
}

async function unset(session: Session, [name]: Arguments): Promise<Result> {
  if (!Object.hasOwn(parameters, name!)) throw new UsageError(`"${name}" is not a parameter`);
  return change(session, `${name} is what each environment says`, ({ overrides, paused }) => ({
    overrides: Object.fromEntries(Object.entries(overrides).filter(([other]) => other !== name)),
    paused,
  }));
}

/** What a running process has already been started with: an override would change nothing. */
function deploymentProblem(name: string): string | null {
  if (parameters[name]?.kind !== 'table' && !/_(SCHEDULE|ENABLED|PARTS)$/.test(name)) return null;
  return `${name} belongs to the deployment: change it there; \`holdfast pause\` stops a worker at once`;
}

function known(worker: string): string {
  if (workerNames.some((name) => name === worker)) return worker;
  throw new UsageError(`There is no worker "${worker}"; there are ${workerNames.join(', ')}`);
}

async function list(session: Session): Promise<Result> {
  const { settings } = await fleetNow(session);
  const rows = Object.entries(settings.overrides).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = rows.length === 0 ? 'nothing is set' : table(['PARAMETER', 'VALUE'], rows);
  return { text, document: settings };
}

/** How often the row is read again when another process changed it at the same moment. */
const attempts = 5;

async function change(session: Session, done: string, next: (now: Settings) => Settings): Promise<Result> {
  const { store } = session.process();
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const fleet = await fleetNow(session);
    const before = fleet.row(rowKeys.settings);
    const after = next(fleet.settings);
    const put = { pk: fleetKey, sk: rowKeys.settings, version: (before?.version ?? 0) + 1, data: { ...after } };
    const answer = await store.write({ kind: 'row', put, expect: before?.version ?? 'absent' });
    if (answer.outcome === 'done') return { text: done, document: after };
  }
  throw new CommandError('conflict', 'Other processes keep changing the settings at this moment: try again');
}
