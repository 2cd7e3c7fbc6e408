import type { BreakerState } from '../base/health.ts';
import { observe } from '../fleet/breaker.ts';
import type { ControlRow } from '../store/model.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';
import type { UsageByHour } from '../store/usage-book.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type ReportTick = Pick<
  Tick,
  'deps' | 'config' | 'params' | 'meter' | 'spending' | 'view' | 'lease' | 'tally' | 'now' | 'audit'
>;

/** How often a breaker row is tried again when another tick wrote it meanwhile. */
const attempts = 3;

/** Adds what this tick saw of its backends to their breaker rows. A healthy tick on healthy backends writes nothing. */
export async function reportHealth(tick: ReportTick): Promise<void> {
  for (const { name } of tick.config.backends) {
    const seen = tick.meter.observed(name);
    if (seen === undefined) continue;
    let row = tick.view.row(rowKeys.breaker(name));
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const before = row?.data as BreakerState | undefined;
      const rules = { failures: tick.params.breakerFailures, openMs: tick.params.breakerOpenMs };
      const after = observe(before, seen, tick.now(), rules, tick.deps.ids.random());
      if (after === null) break;
      const answer = await writeBreaker(tick, name, row, after);
      if (answer.outcome === 'done') {
        auditChange(tick, name, before, after);
        break;
      }
      row = answer.refusal.cause === 'row' ? (answer.refusal.seen ?? undefined) : undefined;
    }
  }
}

function auditChange(tick: ReportTick, backend: string, before: BreakerState | undefined, after: BreakerState): void {
  const wasOpen = before?.openedAt !== undefined;
  const isOpen = after.openedAt !== undefined;
  if (wasOpen !== isOpen)
    tick.audit(isOpen ? 'Breaker opened' : 'Breaker closed', { backend, failures: after.failures });
}

/** Writes a breaker row on condition of the version seen. */
export function writeBreaker(tick: ReportTick, backend: string, row: ControlRow | undefined, state: BreakerState) {
  const put = { pk: fleetKey, sk: rowKeys.breaker(backend), version: (row?.version ?? 0) + 1, data: { ...state } };
  return tick.deps.store.write({ kind: 'row', put, expect: row?.version ?? 'absent' });
}

/**
 * Writes down what this tick spent, once, with what earlier ticks of this process left, and gives back what it holds of the
 * usage limits. An idle tick writes nothing and leaves it to the next one that works. Returns what it spent.
 */
export async function reportUsage(tick: ReportTick): Promise<UsageByHour> {
  const { deps, spending } = tick;
  const spent = tick.meter.take();
  const taken = spending.take();
  deps.unreported.enter(spent);
  if (tick.lease === null && tick.tally.planned === 0 && !spending.isHolding()) return spent;
  await deps.unreported.flush(deps);
  spending.written(taken);
  // What it cannot give back now runs out by itself.
  await spending
    .release()
    .catch((error: Error) => deps.log.warn('Portions of usage limits were not given back', { message: error.message }));
  return spent;
}
