import * as v from 'valibot';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import type { ControlRow } from '../store/model.ts';
import { type Store, StoreError } from '../store/port.ts';
import { portionsKey } from '../store/row-keys.ts';

/** What one process holds of the rest of a backend's limits, until it gives it back or its time has passed. */
export interface Portion extends Usage {
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** The portions of one backend as they stood when they were read. */
export interface Portions {
  readonly row: ControlRow | undefined;
  readonly byHolder: ReadonlyMap<string, Portion>;
}

export type PortionStore = Pick<Store, 'control' | 'write'>;

const sortKey = 'held';
/** A row that nobody draws from any more is removed by the table itself. */
const keptMs = 24 * 3_600_000;
/** Each time that one writer loses, another has won. */
const mostAttempts = 20;

const amount = v.pipe(v.number(), v.minValue(0));
const schema = v.object({
  portions: v.record(
    v.string(),
    v.object({
      until: v.number(),
      requests: amount,
      classA: amount,
      classB: amount,
      egressBytes: amount,
      ingressBytes: amount,
    }),
  ),
});

/** Reads who holds what of a backend's limits now. Throws `StoreError`. */
export async function readPortions(store: Pick<Store, 'control'>, backend: string): Promise<Portions> {
  const { rows } = await store.control(portionsKey(backend));
  return portionsOf(rows.find(({ sk }) => sk === sortKey));
}

/** What another version of Holdfast has written there binds nobody. */
function portionsOf(row: ControlRow | undefined): Portions {
  const parsed = v.safeParse(schema, row?.data);
  return { row, byHolder: new Map(parsed.success ? Object.entries(parsed.output.portions) : []) };
}

/** What all others hold whose time has not passed. */
export function heldByOthers({ byHolder }: Portions, holder: string, now: number): Usage {
  return [...byHolder]
    .filter(([name, { until }]) => name !== holder && until > now)
    .reduce((sum, [, portion]) => plusUsage(sum, portion), noUsage);
}

/** Puts a portion in the place of the one that its holder had, null for none, on condition that nobody wrote meanwhile. */
export function replacePortion(
  store: PortionStore,
  backend: string,
  { row, byHolder }: Portions,
  holder: string,
  portion: Portion | null,
  now: number,
): Promise<{ readonly outcome: 'done' } | { readonly outcome: 'refused'; readonly seen: Portions }> {
  const others = [...byHolder].filter(([name, { until }]) => name !== holder && until > now);
  const all = portion === null ? others : [...others, [holder, portion] as const];
  const ttl = Math.ceil((Math.max(now, ...all.map(([, { until }]) => until)) + keptMs) / 1000);
  const data = { portions: Object.fromEntries(all) };
  const put = { pk: portionsKey(backend), sk: sortKey, version: (row?.version ?? 0) + 1, data, ttl };
  return store.write({ kind: 'row', put, expect: row?.version ?? 'absent' }).then((answer) => {
    if (answer.outcome === 'done') return answer;
    const { refusal } = answer;
    return { outcome: 'refused', seen: portionsOf(refusal.cause === 'row' ? (refusal.seen ?? undefined) : undefined) };
  });
}

/** Gives a portion back. Throws `StoreError`: then it runs out by itself. */
export async function endPortion(store: PortionStore, backend: string, holder: string, now: number): Promise<void> {
  let portions = await readPortions(store, backend);
  for (let attempt = 0; attempt < mostAttempts && portions.byHolder.has(holder); attempt += 1) {
    const answer = await replacePortion(store, backend, portions, holder, null, now);
    if (answer.outcome === 'done') return;
    portions = answer.seen;
  }
}

/** Writes what `decide` makes of the portions as they are, until nobody else has written in between. Throws `StoreError`. */
export async function drawPortion<T>(
  store: PortionStore,
  backend: string,
  holder: string,
  now: () => number,
  decide: (portions: Portions) => Promise<{ readonly portion: Portion } | { readonly refused: T }>,
): Promise<
  { readonly outcome: 'drawn'; readonly portion: Portion } | { readonly outcome: 'refused'; readonly why: T }
> {
  for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
    // Before what was spent is summed up: what is written down in between then counts twice, and never not at all.
    const portions = await readPortions(store, backend);
    const decided = await decide(portions);
    if ('refused' in decided) return { outcome: 'refused', why: decided.refused };
    const { portion } = decided;
    const answer = await replacePortion(store, backend, portions, holder, portion, now());
    if (answer.outcome === 'done') return { outcome: 'drawn', portion };
  }
  throw new StoreError('throttled', `Cannot draw from the limits of "${backend}": others kept its row busy`);
}
