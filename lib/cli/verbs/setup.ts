import { isThisMachine, locationProblems, parseWaived } from '../../config/endpoints.ts';
import type { FleetFile } from '../../config/fleet-file.ts';
import { parseParameters } from '../../config/parameters.ts';
import { ConfigError } from '../../config/problems.ts';
import type { Capabilities } from '../../fleet/backend.ts';
import { type Applied, apply, planApply } from '../../operations/apply.ts';
import { askClaimed } from '../../operations/probe.ts';
import { planFile, type WorkPlan } from '../../operations/work-plan.ts';
import { readFleet, standingOf } from '../../store/fleet-view.ts';
import { readFleetFile } from '../fleet-source.ts';
import { plural, table } from '../format.ts';
import { assertAffordable, sayWorkPlan } from '../max-usd.ts';
import { dollars } from '../numbers.ts';
import type { Result, Session, VerbGroup } from '../session.ts';

export interface SetupOptions {
  readonly fleet?: string;
  readonly takeOver?: boolean;
  readonly park?: boolean;
  readonly dryRun?: boolean;
  readonly maxUsd?: number;
  readonly allowPrivateEndpoint?: readonly string[];
}

const fleetOption = ['--fleet <file>', 'fleet file, instead of HOLDFAST_FLEET'] as const;
const waiverOption = [
  '--allow-private-endpoint <backend...>',
  'backends whose endpoint may be http, loopback, private or link-local (HOLDFAST_ALLOW_PRIVATE_ENDPOINTS)',
] as const;

const brokenOff =
  'Whether the fleet file is in force, `holdfast status` says by its version; the same command again does the rest';

/** `init`, `apply`: the only verbs that read the fleet file. */
export const setupVerbs: VerbGroup = (program, verb) => {
  verb<SetupOptions>(
    program
      .command('init')
      .description('create the tables where they are missing, claim the buckets, put the fleet file in force')
      .option(...fleetOption)
      .option(...waiverOption)
      .option('--take-over', 'claim buckets that belong to other tables: after your own tables were lost'),
    init,
  );
  verb<SetupOptions>(
    program
      .command('apply')
      .description('put the fleet file in force as a new version')
      .option(...fleetOption)
      .option(...waiverOption)
      .option(
        '--park',
        'let backends leave the file that still hold something: their copies stay recorded and cannot be read',
      )
      .option('--max-usd <n>', 'do not put it in force where the work that follows may cost more dollars', dollars)
      .option('--dry-run', 'say what would change, what that would cost, and what is in the way; change nothing'),
    async (session, _args, { park, dryRun, maxUsd, ...options }) => {
      const file = checkedFile(session, options);
      if (dryRun === true) return planned(session, file, park === true);
      if (maxUsd !== undefined) assertAffordable('apply the fleet file', (await planOf(session, file)).usd, maxUsd);
      session.ifBrokenOff(brokenOff);
      const applied = await apply(session.process(), file, { park: park === true ? 'any' : 'none' });
      return { text: describeApplied(applied), document: applied };
    },
  );
};

async function planned(session: Session, file: FleetFile, mayPark: boolean): Promise<Result> {
  const { before, warnings } = await planApply(session.process(), file, { park: mayPark ? 'any' : 'none' });
  const changes = differences(before, file);
  const lines = changes.map(({ change, path, from, to }) => {
    if (change === 'added') return `+ ${path}: ${to}`;
    return change === 'removed' ? `- ${path}: ${from}` : `~ ${path}: ${from} → ${to}`;
  });
  const text = [
    lines.length === 0 ? 'nothing would change' : lines.join('\n'),
    ...warnings.map((w) => `Warning: ${w}`),
  ];
  const plan = await planOf(session, file);
  text.push(sayWorkPlan('The work that follows', plan));
  return { text: text.join('\n\n'), document: { changes, warnings, plan } };
}

/** What the workers would do by a file; nothing before there is a fleet. */
async function planOf(session: Session, file: FleetFile): Promise<WorkPlan> {
  const { store, clock } = session.process();
  const now = clock.now();
  const view = await readFleet(store, now);
  const { unhealthyAfterMs } = parseParameters(session.env, view.settings.overrides);
  return planFile({ view, file, standing: (name) => standingOf(view, name, now, unhealthyAfterMs) });
}

interface Difference {
  readonly change: 'added' | 'removed' | 'changed';
  /** `backends.b2.quotaBytes` */
  readonly path: string;
  readonly from?: string;
  readonly to?: string;
}

/** Field by field; keys that are written into a file are never shown. */
function differences(before: FleetFile | null, after: FleetFile): Difference[] {
  const [was, is] = [fieldsOf(before), fieldsOf(after)];
  return [...new Set([...was.keys(), ...is.keys()])].sort().flatMap((path): Difference[] => {
    const [from, to] = [was.get(path), is.get(path)];
    if (from === to) return [];
    const withoutSecret = (text: string) => (/secretAccessKey$/.test(path) ? '(not shown)' : text);
    if (from === undefined) return [{ change: 'added', path, to: withoutSecret(to!) }];
    if (to === undefined) return [{ change: 'removed', path, from: withoutSecret(from) }];
    return [{ change: 'changed', path, from: withoutSecret(from), to: withoutSecret(to) }];
  });
}

function fieldsOf(file: FleetFile | null): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null) return void found.set(path, JSON.stringify(value));
    for (const [name, one] of Object.entries(value))
      if (one !== undefined) walk(one, path === '' ? name : `${path}.${name}`);
  };
  if (file !== null) {
    const { backends, ...others } = file;
    walk({ ...others, backends: Object.fromEntries(backends.map(({ name, ...one }) => [name, one])) }, '');
  }
  return found;
}

async function init(session: Session, _args: unknown, { takeOver, ...options }: SetupOptions): Promise<Result> {
  const file = checkedFile(session, options);
  const holdfastProcess = session.process();
  session.ifBrokenOff(brokenOff);
  await holdfastProcess.createTables();
  const applied = await apply(holdfastProcess, file, { takeOver: takeOver === true });
  if (takeOver === true) await askClaimed(holdfastProcess, Object.keys(applied.capabilities));
  const { objects, queue, control } = holdfastProcess.tables;
  return {
    text: `Tables ${objects}, ${queue} and ${control} are ready.\n${describeApplied(applied)}`,
    document: { ...applied, tables: holdfastProcess.tables },
  };
}

/** The fleet file, if its endpoints are where other people's data may be sent, or somebody said that they may. */
export function checkedFile(session: Session, { fleet, allowPrivateEndpoint = [] }: SetupOptions): FleetFile {
  const file = readFleetFile(session.env, fleet);
  const given = parseWaived(session.env.HOLDFAST_ALLOW_PRIVATE_ENDPOINTS);
  const waived = given === 'all' ? given : [...given, ...allowPrivateEndpoint, ...besideTheTables(session, file)];
  const problems = locationProblems(file.backends, waived);
  if (problems.length > 0)
    throw new ConfigError('The fleet file is not applied; --allow-private-endpoint <backend> waives this', problems);
  return file;
}

/** Where the tables are on this machine too, nobody works on the fleet from elsewhere: a server on it is what it says. */
function besideTheTables({ env, home }: Session, { backends }: FleetFile): string[] {
  const tables = home?.endpoint ?? (env.AWS_ENDPOINT_URL_DYNAMODB || env.AWS_ENDPOINT_URL);
  if (!tables || !isThisMachine(tables)) return [];
  return backends
    .filter(({ endpoint, credentials }) => endpoint !== undefined && isThisMachine(endpoint) && credentials !== 'role')
    .map(({ name }) => name);
}

export function describeApplied({ version, fleetId, capabilities, warnings, parked }: Applied): string {
  const rows = Object.entries(capabilities).map(([name, can]) => [name, abilities(can)]);
  const left = parked.map(
    ({ backend, objects, queueItems }) =>
      `Parked: ${backend}, with ${plural(objects, 'object')} and ${plural(queueItems, 'queue item')}`,
  );
  return [
    `Fleet ${fleetId}, version ${version}: ${plural(rows.length, 'backend')}\n\n${table(['BACKEND', 'CAN'], rows)}`,
    ...left,
    ...warnings.map((warning) => `Warning: ${warning}`),
  ].join('\n\n');
}

function abilities(can: Capabilities): string {
  const names = Object.entries(can).flatMap(([name, isThere]) => (isThere === true ? [name] : []));
  return names.length === 0 ? '-' : names.join(', ');
}
