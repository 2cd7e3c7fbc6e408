import type { Tick } from './tick.ts';

/** The control row that keeps sweeps of a backend from enqueueing anything for deletion, since its bucket was taken over. */
export function reportOnlyKey(backend: string): string {
  return `report-only/${backend}`;
}

export function onlyReports(tick: Tick, backend: string): boolean {
  return tick.view.row(reportOnlyKey(backend)) !== undefined;
}

/** Ends it: a whole pass of recovery is complete. */
export async function endReportOnly(tick: Tick, backend: string): Promise<void> {
  const row = tick.view.row(reportOnlyKey(backend));
  if (row !== undefined) await tick.deps.store.write({ kind: 'row-end', pk: row.pk, sk: row.sk, expect: row.version });
}
