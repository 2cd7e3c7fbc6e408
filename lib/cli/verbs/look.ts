import { defined } from '../../base/defined.ts';
import { parseParameters } from '../../config/parameters.ts';
import { placementRule } from '../../config/placement-rule.ts';
import { type ListingCursor, objectsOf } from '../../operations/find-objects.ts';
import { checkBackend } from '../../operations/probe.ts';
import { parametersInForce } from '../../operations/settings.ts';
import { type BackendStanding, type PlacementTotal, standingOf } from '../../store/fleet-view.ts';
import type { ObjectRecord } from '../../store/model.ts';
import { shortPlacements } from '../../tick/fleet-summary.ts';
import { CommandError, UsageError } from '../failure.ts';
import { bytes, duration, escaped, table } from '../format.ts';
import { wholeNumber } from '../numbers.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

type Fleet = Awaited<ReturnType<typeof fleetNow>>;

interface ListFlags {
  readonly backend?: string;
  readonly limit: number;
}

/** `copies`, `under-replicated`, `settings`, `probe`: what stands behind the figures. */
export const lookVerbs: VerbGroup = (program, verb) => {
  const limit = ['--limit <n>', 'objects to show at most', wholeNumber(1, 1_000_000), 100] as const;
  verb<ListFlags>(
    program
      .command('copies')
      .description('list objects and the backends that hold them, placement by placement')
      .option('--backend <name>', 'only those with a copy there')
      .option(...limit),
    async (session, _args, flags) => {
      const fleet = await fleetNow(session);
      assertKnown(fleet, flags.backend);
      const isWanted = ({ copies }: PlacementTotal) =>
        flags.backend === undefined || copies.some(({ backend }) => backend === flags.backend);
      return listed(session, fleet, fleet.placements.filter(isWanted), flags.limit);
    },
  );
  verb<ListFlags>(
    program
      .command('under-replicated')
      .description('list objects that have fewer counted copies than their policy asks for')
      .option(...limit),
    async (session, _args, flags) => {
      const fleet = await fleetNow(session);
      return listed(session, fleet, shortPlacements(fleet, standingIn(session, fleet)), flags.limit);
    },
  );
  verb(
    program.command('settings').description('every tuning parameter as it is in force here, and where it comes from'),
    settings,
  );
  verb(
    program.command('probe <backend>').description('ask a backend now; one that answers has its breaker closed'),
    probe,
  );
};

/** Throws for a name that never was a backend's: copies may be on one that has left the file. */
function assertKnown({ config: { fingerprints } }: Fleet, backend: string | undefined): void {
  if (backend === undefined || Object.hasOwn(fingerprints, backend)) return;
  throw new UsageError(`There is no backend "${backend}"; there are ${Object.keys(fingerprints).join(', ')}`);
}

function standingIn(session: Session, fleet: Fleet): (name: string) => BackendStanding {
  const { unhealthyAfterMs } = parseParameters(session.env, fleet.settings.overrides);
  const now = session.process().clock.now();
  return (name) => standingOf(fleet, name, now, unhealthyAfterMs);
}

function factorOf(fleet: Fleet, policy: string): number {
  const { file } = fleet.config;
  return placementRule(file, policy).factor;
}

async function listed(
  session: Session,
  fleet: Fleet,
  placements: readonly PlacementTotal[],
  limit: number,
): Promise<Result> {
  const standing = standingIn(session, fleet);
  const document: object[] = [];
  const rows: (string | number)[][] = [];
  for await (const object of objectsOfPages(session, placements, limit)) {
    const backends = Object.keys(object.copies).sort();
    const wanted = factorOf(fleet, object.policy);
    const counted = backends.filter((name) => standing(name).isCounted).length;
    document.push({ key: object.key, sizeBytes: object.sizeBytes, policy: object.policy, backends, counted, wanted });
    rows.push([bytes(object.sizeBytes), `${counted} of ${wanted}`, backends.join('+') || '-', escaped(object.key)]);
  }
  const all = placements.reduce((sum, { count }) => sum + count.objects, 0);
  const more = all > rows.length && rows.length === limit ? `\n\n${all - rows.length} more: --limit shows them` : '';
  const text = rows.length === 0 ? 'no objects' : `${table(['SIZE', 'COPIES', 'BACKENDS', 'KEY'], rows)}${more}`;
  return { text, document };
}

const pageSize = 100;
/** Of one page; many placements are empty in most shards. */
const pageQueries = 1_000;

async function* objectsOfPages(
  session: Session,
  placements: readonly PlacementTotal[],
  most: number,
): AsyncGenerator<ObjectRecord> {
  const { store } = session.process();
  let left = most;
  let from: ListingCursor | undefined;
  do {
    const limits = { limit: Math.min(pageSize, left), queries: pageQueries };
    const page = await objectsOf(store, placements, limits, from);
    yield* page.items;
    left -= page.items.length;
    from = page.next;
  } while (from !== undefined && left > 0);
}

async function settings(session: Session): Promise<Result> {
  const { settings: live } = await fleetNow(session);
  const document = parametersInForce(session.env, live).map(({ about: _about, ...parameter }) => parameter);
  // What is wrong in them is said as everywhere.
  parseParameters(session.env, live.overrides);
  const rows = document.map(({ name, value, source }) => [name, value, source]);
  return { text: table(['PARAMETER', 'VALUE', 'FROM'], rows), document };
}

async function probe(session: Session, [name]: Arguments): Promise<Result> {
  await fleetNow(session);
  const probed = await checkBackend(session.process(), name!);
  if (probed.outcome === 'not-configured')
    throw new UsageError(`There is no backend "${name}" in the fleet file; there are ${probed.backends.join(', ')}`);
  if (probed.outcome === 'not-ours') throw new CommandError('not-ours', probed.problem);
  const { durationMs, closedBreaker } = probed;
  const breaker = closedBreaker ? '; its breaker is closed now' : '';
  return {
    text: `${name} answers in ${duration(durationMs)}, and is ours${breaker}`,
    document: {
      backend: name,
      outcome: 'answers',
      durationMs,
      ...defined({ closedBreaker: closedBreaker || undefined }),
    },
  };
}
