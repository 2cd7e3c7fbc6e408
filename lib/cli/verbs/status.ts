import { defined } from '../../base/defined.ts';
import { keyIdsOf } from '../../config/encryption.ts';
import { parseParameters, type WorkerName, workerNames } from '../../config/parameters.ts';
import { type DrainStatus, drainStatus } from '../../operations/drain.ts';
import { type UsageLine, usageReport } from '../../operations/usage-report.ts';
import { type FleetConfig, type FleetView, standingOf } from '../../store/fleet-view.ts';
import { queueStates } from '../../store/model.ts';
import { passHeader } from '../../store/pass-rows.ts';
import { type Recovery, recoveryOf } from '../../store/recovery.ts';
import { refusingOf, refusingProblem } from '../../store/refusing.ts';
import { type FleetSummary, summarize } from '../../tick/fleet-summary.ts';
import { bytes, escaped, plural, table, timestamp } from '../format.ts';
import { fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';
import { usageTable } from './usage.ts';

/** `status`: the whole fleet, from one query, the leases, and what was spent of limits. */
export const statusVerbs: VerbGroup = (program, verb) => {
  verb(program.command('status').description('show backends, placements, queue and workers'), status);
};

type Fleet = FleetView & { readonly config: FleetConfig };

async function status(session: Session): Promise<Result> {
  const fleet = await fleetNow(session);
  const params = parseParameters(session.env, fleet.settings.overrides);
  const { clock } = session.process();
  const standing = (name: string) => standingOf(fleet, name, clock.now(), params.unhealthyAfterMs);
  const summary = summarize(fleet, standing);
  const configured = fleet.config.file.backends.map(({ name }) => name);
  const others = fleet.namedBackends().filter((name) => !configured.includes(name));
  // A drain that nothing names any more is closed by this look, as by `drain` itself.
  const drains = new Map<string, DrainStatus>();
  for (const name of configured)
    if (fleet.drain(name) !== undefined) drains.set(name, await drainStatus(session.process(), name));
  const backends = [...configured, ...others].map((name) => backendLine(fleet, standing(name), drains.get(name)));
  const workers = await Promise.all(
    workerNames.map((name) =>
      workerLine(session, name, params.workers[name].enabled, fleet.settings.paused.includes(name)),
    ),
  );
  const usage = (await usageReport(session.process().store, fleet.config.file.backends, clock.now())).filter(
    ({ allowed }) => allowed > 0,
  );
  const document = {
    fleetId: fleet.config.fleetId,
    version: fleet.config.version,
    objects: summary.objects,
    bytes: summary.bytes,
    backends,
    placements: fleet.placements.map(({ label, policy, condition, copies, count }) => ({
      placement: label,
      policy,
      backends: copies.map(({ backend }) => backend),
      condition,
      damaged: condition === 'damaged',
      ...count,
    })),
    underReplicated: summary.underReplicated,
    misplaced: summary.misplaced,
    overReplicated: summary.overReplicated,
    damaged: summary.damaged,
    stuck: summary.stuck,
    unrecorded: backends.reduce((sum, { unrecorded }) => sum + unrecorded, 0),
    queue: summary.queue,
    usage,
    keys: keyLines(fleet),
    ...defined({ recovery: recoveryOf(fleet) }),
    overrides: fleet.settings.overrides,
    workers,
  };
  return { text: describe(document, summary), document };
}

/** What is encrypted with each key, and whether the file in force lists it. */
function keyLines(fleet: Fleet) {
  const listed = new Set(keyIdsOf(fleet.config.file));
  return [...fleet.keys()].map(([keyId, count]) => ({ keyId, listed: listed.has(keyId), ...count }));
}

function backendLine(fleet: Fleet, standing: ReturnType<typeof standingOf>, drain: DrainStatus | undefined) {
  const { name, config, breaker, isDraining, isLeaving, isReachable } = standing;
  const held = fleet.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  const pass = passHeader(fleet, name);
  const { unhealthySince, probeAfter, reason } = fleet.breaker(name) ?? {};
  const takesNoWrites = refusingOf(fleet, name);
  return {
    name,
    configured: config !== undefined,
    draining: isDraining,
    ...defined({ drain: drain?.outcome }),
    failures: fleet.breaker(name)?.failures ?? 0,
    leaving: isLeaving,
    reachable: isReachable,
    breaker,
    ...defined({ takesNoWrites, unhealthySince, probeAfter, reason }),
    objects: held.reduce((sum, { count }) => sum + count.objects, 0),
    usedBytes: fleet.usedBytes(name),
    quotaBytes: config?.quotaBytes ?? 0,
    ...defined({ passCompletedAt: pass.completedAt }),
    unrecorded: pass.unrecorded ?? 0,
    queue: queueStates.reduce((sum, state) => sum + fleet.queue(state, name).objects, 0),
  };
}

async function workerLine(session: Session, name: WorkerName, enabled: boolean, paused: boolean) {
  const { store, clock } = session.process();
  const leases = await store.leases(name);
  const last = leases
    .flatMap(({ part, last: summary }) => (summary === undefined ? [] : [{ part, ...summary }]))
    .sort((a, b) => timeOf(b) - timeOf(a))[0];
  const running = leases.some(({ expiresAt }) => expiresAt > clock.now());
  return { name, enabled, paused, running, last: last ?? null };
}

function timeOf(last: object): number {
  return 'at' in last && typeof last.at === 'number' ? last.at : 0;
}

interface Document {
  readonly fleetId: string;
  readonly version: number;
  readonly backends: readonly ReturnType<typeof backendLine>[];
  readonly placements: readonly { readonly placement: string; readonly objects: number; readonly bytes: number }[];
  readonly unrecorded: number;
  readonly usage: readonly UsageLine[];
  readonly keys: ReturnType<typeof keyLines>;
  readonly recovery?: Recovery;
  readonly overrides: Readonly<Record<string, string>>;
  readonly workers: readonly Awaited<ReturnType<typeof workerLine>>[];
}

function describe(document: Document, summary: FleetSummary): string {
  const { fleetId, version, backends, placements, keys, recovery, overrides, workers } = document;
  const parts = [
    `Fleet ${fleetId}, version ${version}: ${plural(summary.objects, 'object')}, ${bytes(summary.bytes)}`,
    table(
      ['BACKEND', 'STATE', 'OBJECTS', 'USED', 'QUOTA', 'QUEUE', 'LAST PASS (UTC)'],
      backends.map((b) => [
        b.name,
        stateOf(b),
        b.objects,
        bytes(b.usedBytes),
        b.quotaBytes === 0 ? '-' : bytes(b.quotaBytes),
        b.queue,
        b.passCompletedAt === undefined ? 'never' : timestamp(b.passCompletedAt),
      ]),
    ),
    backends.flatMap(troublesOf).join('\n'),
    placements.length === 0
      ? ''
      : table(
          ['PLACEMENT', 'OBJECTS', 'SIZE'],
          placements.map((p) => [p.placement, p.objects, bytes(p.bytes)]),
        ),
    recovery === undefined || recovery.completedAt !== undefined
      ? ''
      : `RECOVERY PENDING since ${timestamp(recovery.since)}: nothing is deleted, cleaned or moved before \`holdfast recover\` is complete`,
    `under-replicated ${summary.underReplicated} · ${summary.misplaced === 0 ? '' : `badly spread ${summary.misplaced} · `}over-replicated ${summary.overReplicated} · damaged ${summary.damaged} · stuck ${summary.stuck} · unrecorded ${document.unrecorded}`,
    `queue: ${queueStates.map((state) => `${state} ${summary.queue[state].objects}`).join(' · ')}`,
    document.usage.length === 0 ? '' : usageTable(document.usage),
    keys.length === 0
      ? ''
      : table(
          ['ENCRYPTION KEY', 'STATE', 'OBJECTS', 'SIZE'],
          keys.map((k) => [k.keyId, k.listed ? 'listed' : 'NOT LISTED', k.objects, bytes(k.bytes)]),
        ),
    table(
      ['WORKER', 'STATE', 'LAST WORK (UTC)', 'OUTCOME'],
      workers.map((w) => [w.name, workerState(w), ...lastWork(w.last)]),
    ),
    Object.entries(overrides)
      .map(([name, value]) => `set ${name}=${value}`)
      .join('\n'),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function stateOf(b: Document['backends'][number]): string {
  // It left the file with what it holds: recorded, and unread.
  if (!b.configured) return 'PARKED';
  const states = [
    b.leaving ? 'leaving' : '',
    b.draining ? (b.drain ?? 'draining') : '',
    b.breaker === 'closed' ? '' : `breaker ${b.breaker}`,
    b.breaker === 'closed' && b.failures > 0 ? `FAILING (${b.failures} in a row)` : '',
    b.takesNoWrites === undefined ? '' : 'TAKES NO WRITES',
  ];
  return states.filter((s) => s !== '').join(', ') || 'ok';
}

/** Why, since when, and until when. */
function troublesOf({
  name,
  breaker,
  unhealthySince,
  probeAfter,
  reason,
  takesNoWrites,
}: Document['backends'][number]) {
  const lines: string[] = [];
  if (breaker !== 'closed' && unhealthySince !== undefined) {
    const until = probeAfter === undefined ? '' : `, it is asked again from ${timestamp(probeAfter)} on`;
    const why = reason === undefined ? '' : `: ${escaped(reason)}`;
    lines.push(`Backend "${name}" has not answered since ${timestamp(unhealthySince)} UTC${until}${why}`);
  }
  if (takesNoWrites !== undefined) lines.push(escaped(refusingProblem(name, takesNoWrites)));
  return lines;
}

function workerState({ enabled, paused, running }: Document['workers'][number]): string {
  if (paused) return 'paused';
  return running ? 'running' : enabled ? 'enabled' : 'off';
}

function lastWork(last: Readonly<Record<string, unknown>> | null): [string, string] {
  if (last === null) return ['-', '-'];
  const { outcome, succeeded, planned } = last;
  return [timestamp(timeOf(last)), `${String(outcome)} (${String(succeeded)} of ${String(planned)})`];
}
