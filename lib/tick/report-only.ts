import { rowKeys } from '../store/row-keys.ts';
import type { Tick } from './tick.ts';

export function onlyReports(tick: Tick, backend: string): boolean {
  return tick.view.row(rowKeys.reportOnly(backend)) !== undefined;
}

/** Ends it: a whole pass of recovery is complete. */
export async function endReportOnly(tick: Tick, backend: string): Promise<void> {
  const row = tick.view.row(rowKeys.reportOnly(backend));
  if (row !== undefined) await tick.deps.store.write({ kind: 'row-end', pk: row.pk, sk: row.sk, expect: row.version });
}
