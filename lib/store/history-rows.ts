import type { ControlRow } from './model.ts';
import type { Store } from './port.ts';
import { historyKey } from './row-keys.ts';

/** What the ticks of one lease did in one hour, and how the fleet stood when the last of them read it. */
export interface HourFigures {
  /** Its beginning. Milliseconds since the epoch. */
  readonly at: number;
  /** When the last of its ticks ended. */
  readonly endedAt: number;
  readonly ticks: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly skipped: number;
  readonly deferred: number;
  readonly requests: number;
  readonly egressBytes: number;
  readonly ingressBytes: number;
  /** The longest that an object waited for the last copy it needed; absent where none did. */
  readonly lagSeconds?: number;
  readonly objects: number;
  readonly underReplicated: number;
  readonly queued: number;
  readonly usedBytes: number;
}

export const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** One row holds a day, and a row is used again after so many: nothing ever has to be deleted. */
const slots = 91;
/** A row of a lease that is in use no more, because parts are fewer than they were, ends by itself. */
const keptSeconds = (slots + 1) * 86_400;

export function hourOf(now: number): number {
  return Math.floor(now / hourMs) * hourMs;
}

/** What of an hour is kept, in this order: a row is paid for by its size. */
const fields = [
  'endedAt',
  'ticks',
  'succeeded',
  'failed',
  'skipped',
  'deferred',
  'requests',
  'egressBytes',
  'ingressBytes',
  'lagSeconds',
  'objects',
  'underReplicated',
  'queued',
  'usedBytes',
] as const satisfies readonly (keyof HourFigures)[];

/** Of a figure that there is none of. */
const none = -1;

/** A day of one lease; `hours` by hour of the day, each as its fields. */
interface Day {
  readonly day: number;
  readonly hours: Readonly<Record<string, readonly number[]>>;
}

type HistoryStore = Pick<Store, 'control' | 'write'>;

/** How often the row is read again when somebody else wrote it meanwhile: only a tick that outlived its lease can. */
const attempts = 3;

/**
 * Writes the figures of an hour that is over into the ring of a lease: one conditional write. Written again, they change
 * nothing; a tick that outlived its lease knows less of the hour, and leaves what is there.
 */
export async function writeHour(
  store: HistoryStore,
  worker: string,
  part: string,
  figures: HourFigures,
): Promise<void> {
  const pk = historyKey(worker, part);
  const day = Math.floor(figures.at / dayMs);
  const sk = String(day % slots).padStart(2, '0');
  const hour = String((figures.at % dayMs) / hourMs);
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const row = (await store.control(pk)).rows.find((one) => one.sk === sk);
    const kept = dayOf(row);
    const hours = kept?.day === day ? kept.hours : {};
    if ((hours[hour]?.[fields.indexOf('ticks')] ?? 0) >= figures.ticks) return;
    const data = { day, hours: { ...hours, [hour]: fields.map((field) => figures[field] ?? none) } };
    const ttl = Math.floor(figures.at / 1000) + keptSeconds;
    const put: ControlRow = { pk, sk, version: (row?.version ?? 0) + 1, data, ttl };
    const answer = await store.write({ kind: 'row', put, expect: row?.version ?? 'absent' });
    if (answer.outcome === 'done') return;
  }
}

/** The hours of a lease that are over, oldest first: of the last ninety days. */
export async function readHours(
  store: Pick<Store, 'control'>,
  worker: string,
  part: string,
  now: number,
): Promise<HourFigures[]> {
  const { rows } = await store.control(historyKey(worker, part));
  const oldest = now - (slots - 1) * dayMs;
  return rows
    .flatMap(hoursOf)
    .filter(({ at }) => at >= oldest && at <= now)
    .sort((a, b) => a.at - b.at);
}

function hoursOf(row: ControlRow): HourFigures[] {
  const { day, hours } = dayOf(row)!;
  return Object.entries(hours).map(([hour, values]) => {
    const known = fields.flatMap((field, i) => (values[i] === none ? [] : [[field, values[i] ?? 0] as const]));
    return { at: day * dayMs + Number(hour) * hourMs, ...Object.fromEntries(known) } as unknown as HourFigures;
  });
}

function dayOf(row: ControlRow | undefined): Day | undefined {
  return row?.data as Day | undefined;
}
