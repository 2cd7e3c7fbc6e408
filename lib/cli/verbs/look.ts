import { defined } from '../../base/defined.ts';
import { parameters, parseParameters } from '../../config/parameters.ts';
import { placementRule } from '../../config/placement-rule.ts';
import type { Capabilities } from '../../fleet/backend.ts';
import { ownershipProblem } from '../../fleet/ownership-problem.ts';
import { withReason } from '../../operations/ask-for-reason.ts';
import { type BackendStanding, type PlacementTotal, standingOf } from '../../store/fleet-view.ts';
import { labelInShard, shards } from '../../store/keys.ts';
import type { ObjectRecord } from '../../store/model.ts';
import { fleetKey, rowKeys } from '../../store/row-keys.ts';
import { shortPlacements } from '../../tick/fleet-summary.ts';
import { ownershipOf } from '../../transfer/ownership.ts';
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
  for await (const object of objectsOf(session, placements, limit)) {
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

async function* objectsOf(
  session: Session,
  placements: readonly PlacementTotal[],
  limit: number,
): AsyncGenerator<ObjectRecord> {
  const { store } = session.process();
  let left = limit;
  for (const { label } of placements) {
    for (const shard of shards) {
      let after: string | undefined;
      do {
        if (left <= 0) return;
        const page = await store.byPlacement(labelInShard(label, shard), after, Math.min(pageSize, left));
        yield* page.items;
        left -= page.items.length;
        after = page.next;
      } while (after !== undefined);
    }
  }
}

async function settings(session: Session): Promise<Result> {
  const { settings: live } = await fleetNow(session);
  const document = Object.entries(parameters).map(([name, parameter]) => {
    const override = live.overrides[name];
    const given = session.env[name];
    const fromHere = given === undefined || given === '' ? undefined : given;
    const source = override !== undefined ? 'set' : fromHere !== undefined ? 'environment' : 'default';
    return { name, value: override ?? fromHere ?? parameter.default, source, default: parameter.default };
  });
  // What is wrong in them is said as everywhere.
  parseParameters(session.env, live.overrides);
  const rows = document.map(({ name, value, source }) => [name, value, source]);
  return { text: table(['PARAMETER', 'VALUE', 'FROM'], rows), document };
}

async function probe(session: Session, [name]: Arguments): Promise<Result> {
  const fleet = await fleetNow(session);
  const { file, fleetId } = fleet.config;
  const config = file.backends.find((one) => one.name === name);
  if (config === undefined)
    throw new UsageError(
      `There is no backend "${name}" in the fleet file; there are ${file.backends.map((one) => one.name).join(', ')}`,
    );
  const holdfastProcess = session.process();
  const { store, clock } = holdfastProcess;
  const startedAt = clock.now();
  const backend = await holdfastProcess.openBackend(
    config,
    fleet.capabilities(config.name) as Capabilities,
    'read-write',
  );
  const found = await withReason(backend, () => ownershipOf(store, fleet, fleetId, backend));
  const problem = ownershipProblem({ fleetId, backend: config.name }, found);
  if (problem !== null) throw new CommandError('not-ours', problem);
  const durationMs = clock.now() - startedAt;
  const wasOpen = fleet.breaker(config.name)?.openedAt !== undefined;
  if (wasOpen) await closeBreaker(session, fleet, config.name);
  const breaker = wasOpen ? '; its breaker is closed now' : '';
  return {
    text: `${config.name} answers in ${duration(durationMs)}, and is ours${breaker}`,
    document: {
      backend: config.name,
      outcome: 'answers',
      durationMs,
      ...defined({ closedBreaker: wasOpen || undefined }),
    },
  };
}

/** On condition that nobody wrote it meanwhile: what others saw since is theirs to say. */
async function closeBreaker(session: Session, fleet: Fleet, name: string): Promise<void> {
  const row = fleet.row(rowKeys.breaker(name));
  if (row === undefined) return;
  const put = { pk: fleetKey, sk: rowKeys.breaker(name), version: row.version + 1, data: { failures: 0 } };
  await session.process().store.write({ kind: 'row', put, expect: row.version });
}
