import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { coversAll, type KeyRange } from '../../base/key-range.ts';
import {
  createPassRows,
  newRange,
  type PassHeader,
  type PassId,
  type PassRange,
  type PassRows,
  passHeader,
  passName,
  rangesOfPass,
} from '../../store/pass-rows.ts';
import { isRecoveryPending, recoveryOf } from '../../store/recovery.ts';
import type { FleetAsRead, Tick, TickTime } from '../../tick/tick.ts';

/** What this file asks of a tick. */
export type BeginPassTick = Pick<Tick, 'deps' | 'runId' | 'tuning' | 'dryRun' | 'of' | 'part'> & FleetAsRead & TickTime;

/** A pass that begins as one range is cut after as many pages, until all lanes have work; else only what turns out large is. */
export const pagesBeforeCut = 2;

/** A pass that is under way, as this tick found or began it. */
export interface CurrentPass {
  readonly header: PassHeader;
  readonly ranges: readonly PassRange[];
}

/** The pass that is running, or a new one; null when another tick begins one in this moment. */
export async function currentPass(
  tick: BeginPassTick,
  id: PassId,
  rows: PassRows,
  before: PassHeader,
  usable: readonly string[],
): Promise<CurrentPass | null> {
  const former = await rows.ranges();
  if (before.isRunning && !isOutdated(tick, id, before) && !tick.dryRun) {
    const ranges = former.filter(({ pass }) => pass === before.number);
    // None are left when another tick ended that pass, and began the next, since the fleet was read.
    return ranges.length === 0 ? null : { header: before, ranges };
  }
  const now = tick.now();
  const { number, firstStartedAt = now } = before;
  const header: PassHeader = { ...before, number: number + 1, startedAt: now, firstStartedAt, isRunning: true };
  const likely = former.length > 0 ? former : await rangesOfImport(tick, id);
  const planned = plannedRanges(tick, id, header, former, likely, usable);
  if (tick.dryRun) return { header, ranges: planned.map((range) => ({ ...range, version: 1 })) };
  if (id.kind === 'import') await forgetOldImports(tick, passName(id));
  const begun = await rows.begin(header, planned, former);
  return begun === null ? null : { header: { ...header, version: header.version + 1 }, ranges: begun };
}

/** How long an import that is over is remembered, and how many are forgotten when another begins. */
const rememberedMs = 24 * 3_600_000;
const mostForgotten = 20;

/** Whoever imports another prefix every day leaves no row for each of them in what every tick reads. */
async function forgetOldImports(tick: BeginPassTick, begins: string): Promise<void> {
  const { view, deps } = tick;
  const until = tick.now() - rememberedMs;
  const isOver = (name: string) => {
    const { isRunning, completedAt } = passHeader(view, name);
    return !isRunning && completedAt !== undefined && completedAt < until;
  };
  const old = view.passNames().filter((name) => name.startsWith('import/') && name !== begins && isOver(name));
  for (const name of old.slice(0, mostForgotten))
    await createPassRows(deps.store, deps.ids, name).end(passHeader(view, name));
}

/** A recovery that began before the tables were lost or restored is at a place in keys that these tables have not seen since. */
function isOutdated(tick: BeginPassTick, { kind }: PassId, { startedAt }: PassHeader): boolean {
  return kind === 'recover' && isRecoveryPending(tick.view) && startedAt < recoveryOf(tick.view)!.since;
}

/**
 * The ranges of the pass before, begun anew, where they still fit; else one, which is cut where it turns out large. Backends are
 * listed side by side where their order is proven and they can be asked now.
 */
function plannedRanges(
  tick: BeginPassTick,
  id: PassId,
  header: PassHeader,
  former: readonly PassRange[],
  likely: readonly PassRange[],
  usable: readonly string[],
): PassRange[] {
  const joined = id.backends.filter((name) => isOrdered(tick, header, name) && usable.includes(name));
  const alone = id.backends.filter((name) => !joined.includes(name));
  const known = new Map(former.map((range) => [range.id, range]));
  const planned: PassRange[] = [];
  const plan = (backends: readonly string[], ranges: readonly KnownRange[]) => {
    for (const { range, listed } of ranges) {
      const rangeId = String(planned.length).padStart(4, '0');
      const fresh = newRange(rangeId, header.number, backends, range);
      const isMine = planned.length % tick.of === tick.part;
      const lease = isMine ? { holder: tick.runId, heldUntil: tick.deadline.at + leaseSlackMs } : {};
      const version = known.get(rangeId)?.version ?? 0;
      planned.push({ ...fresh, ...lease, ...defined({ listedBefore: listed }), version });
    }
  };
  if (joined.length > 0)
    plan(
      joined,
      rangesOfBefore(
        likely.filter(({ backends }) => joined.every((name) => backends.includes(name))),
        pagesBeforeCut * pageSizeOf(tick, id),
      ),
    );
  for (const name of alone) plan([name], [{ range: {} }]);
  return planned;
}

export const leaseSlackMs = 5_000;

/** Whether a backend lists in an order that says what came before a key. */
export function isOrdered(tick: BeginPassTick, header: PassHeader, name: string): boolean {
  const isDisproved = header.disprovedIn === tick.view.config!.version;
  return tick.view.capabilities(name).listsInByteOrder === true && !isDisproved;
}

interface KnownRange {
  readonly range: KeyRange;
  /** Keys that were listed in it; absent where nothing is known of it. */
  readonly listed?: number;
}

/** The ranges that an import of the backend came to: a first pass over what was imported need not find them again. */
async function rangesOfImport({ view, deps }: BeginPassTick, { kind, backends }: PassId): Promise<PassRange[]> {
  if (kind !== 'sweep') return [];
  const imports = view.passNames().filter((name) => {
    const [, joined] = /^import\/([^/]+)$/.exec(name) ?? [];
    return joined?.split('+').includes(backends[0]!) && !passHeader(view, name).isRunning;
  });
  return imports[0] === undefined ? [] : rangesOfPass(deps.store, imports[0]);
}

/** The ranges of a pass that was complete; neighbours that held little become one. */
function rangesOfBefore(former: readonly PassRange[], smallKeys: number): KnownRange[] {
  if (!coversAll(former)) return [{ range: {} }];
  const sorted = former.toSorted((a, b) =>
    a.from === undefined ? -1 : b.from === undefined ? 1 : compareUtf8(a.from, b.from),
  );
  const merged: { range: KeyRange; listed: number }[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && last.listed + range.listed <= smallKeys) {
      const { upTo: _upTo, ...rest } = last.range;
      last.range = range.upTo === undefined ? rest : { ...rest, upTo: range.upTo };
      last.listed += range.listed;
    } else {
      merged.push({ range, listed: range.listed });
    }
  }
  return merged;
}

/** Where every key may be read to its end, less is begun at a time: a page that a tick cannot finish is compared again. */
const recoveryPageSize = 100;

export function pageSizeOf(tick: BeginPassTick, { kind }: PassId): number {
  return Math.min(kind === 'recover' ? recoveryPageSize : 1000, tick.tuning.batchSize);
}
