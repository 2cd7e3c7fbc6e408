import { type PassRange, rangesOfPass } from '../../lib/store/pass-rows.ts';
import type { TestFleet } from './fleet.ts';

export const hourMs = 3_600_000;

export const importOf = (...backends: string[]) => ({ reconcile: { kind: 'import', backends } }) as const;

/** Puts files that Holdfast did not write. */
export function fill(fleet: TestFleet, name: string, files: number, content = (i: number) => `file ${i}`): void {
  for (let i = 0; i < files; i += 1) fleet.backends[name]!.putNow(fileKey(i), Buffer.from(content(i)));
}

export function fileKey(i: number): string {
  return `photos/${String(i).padStart(6, '0')}.jpg`;
}

/** What all ranges of a pass found, together. */
export async function foundBy(fleet: TestFleet, name: string): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { counts } of await rangesOfPass(fleet.store, name))
    for (const [what, times] of Object.entries(counts)) found[what] = (found[what] ?? 0) + times;
  return found;
}

/** Keys that a pass listed for which it says no end. */
export async function unaccountedBy(fleet: TestFleet, name: string): Promise<number> {
  const sum = (amounts: readonly number[]) => amounts.reduce((a, b) => a + b, 0);
  const listed = (await rangesOfPass(fleet.store, name)).map((range: PassRange) => range.listed);
  return sum(listed) - sum(Object.values(await foundBy(fleet, name)));
}

/** Says of a backend what a probe would have found. */
export function setCapabilities(fleet: TestFleet, name: string, found: Readonly<Record<string, boolean>>): void {
  const row = fleet.store.rowAt('fleet', `capabilities/${name}`)!;
  const put = { ...row, version: row.version + 1, data: { ...row.data, ...found } };
  fleet.store.apply([{ kind: 'row', put, expect: row.version }]);
}

export function objectsIn(fleet: TestFleet): string[] {
  return [...fleet.store.allObjects()].filter(({ kind }) => kind === 'object').map(({ key }) => key);
}
