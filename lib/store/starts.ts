import type { Ids } from '../base/ids.ts';
import type { FleetView } from './fleet-view.ts';
import type { Store } from './port.ts';
import { fleetKey, rowKeys, startsKey } from './row-keys.ts';

/**
 * Tables in a folder can be set back without their identity changing: somebody restores a backup of it. So the process that
 * keeps them notes each of its starts, and one a day: an id of its own, in the tables first, then in the owner object of every
 * bucket. An owner object that names a start which the tables do not know was written by later tables. One that names an older
 * start that they do know missed the last one (its backend did not answer, or a crash came between), and is brought up to date
 * before anything else is done there. Ids, not a counter: two copies of the same tables would count to the same number.
 */
export function latestStart(view: Pick<FleetView, 'row'>): string | undefined {
  return view.row(rowKeys.start)?.data.id as string | undefined;
}

/** The starts that the tables know, and the last of them. */
export interface Starts {
  readonly latest: string | undefined;
  has(id: string): boolean;
}

export async function readStarts(store: Pick<Store, 'control'>): Promise<Starts> {
  const { rows } = await store.control(startsKey);
  const ordinals = new Map(rows.map(({ sk, data }) => [sk, Number(data.ordinal)]));
  const [latest] = [...ordinals].sort(([, a], [, b]) => b - a)[0] ?? [];
  return { latest, has: (id) => ordinals.has(id) };
}

/** How often a start is minted anew when another process did so in the same moment. */
const attempts = 5;

/**
 * Notes a start in the tables: it is known there before any bucket hears of it. An answer that is lost is an error, and the id is
 * never used: at worst the tables know a start that no bucket names. Throws `StoreError`.
 */
export async function addStart(
  { store, ids }: { readonly store: Pick<Store, 'control' | 'transact'>; readonly ids: Pick<Ids, 'ulid'> },
  now: number,
): Promise<string> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const before = (await store.control(fleetKey)).rows.find(({ sk }) => sk === rowKeys.start);
    const id = ids.ulid();
    const ordinal = Number(before?.data.ordinal ?? 0) + 1;
    const version = (before?.version ?? 0) + 1;
    const answer = await store.transact(
      [
        { kind: 'row', put: { pk: startsKey, sk: id, version: 1, data: { ordinal, at: now } }, expect: 'absent' },
        {
          kind: 'row',
          put: { pk: fleetKey, sk: rowKeys.start, version, data: { id, ordinal } },
          expect: before?.version ?? 'absent',
        },
      ],
      ids.ulid(),
    );
    if (answer.outcome === 'done') return id;
  }
  throw new Error('Cannot note this start: other processes keep noting theirs at this moment');
}
