import type { QueueState } from './model.ts';

/** Partition key of everything that describes the fleet. */
export const fleetKey = 'fleet';
/** Partition key of the starts that were noted: one row each, named by its id. */
export const startsKey = 'starts';
/** Partition key of what deployments leave for each other. */
export const deploymentKey = 'deployment';

/** The partition of the Control table in which objects wait that a reader found a wrong copy of. */
export const checksKey = 'checks';

/** The partition of the Control table in which the reading of bytes on a backend is kept, alone. */
export function readingKey(backend: string, storageKey: string): string {
  return `reading/${backend}/${storageKey}`;
}

/** The partition of the Control table that says who holds what of the rest of a backend's usage limits. */
export function portionsKey(backend: string): string {
  return `portions/${backend}`;
}

const drainPrefix = 'drain/';
/** The partition of the Control table that holds the history of one lease. */
export function historyKey(worker: string, part: string): string {
  return `history/${worker}/${part}`;
}

const placementPrefix = 'placement/';
const deletedPrefix = 'drain-deleted/';
const quotaPrefix = 'quota/';
const keyPrefix = 'key/';
const removalsPrefix = 'removals/';

/** Partition key of the ranges of a pass. */
export function passPartition(name: string): string {
  return `pass/${name}`;
}

/** Sort keys of the rows that describe the fleet; those of totals are followed by `#<stripe>` in the table. */
export const rowKeys = {
  config: 'config',
  identity: 'identity',
  /** The fleet file as the last deployment brought it. */
  deployedFleet: 'fleet',
  settings: 'settings',
  /** The start that was noted last. */
  start: 'start',
  drain: (backend: string) => `${drainPrefix}${backend}`,
  breaker: (backend: string) => `breaker/${backend}`,
  capabilities: (backend: string) => `capabilities/${backend}`,
  /** That a backend takes no writes, and when it is tried again. */
  refusing: (backend: string) => `refusing/${backend}`,
  /** Since buckets were taken over: nothing is deleted before what they hold is known. */
  recovery: 'recovery',
  /** Removals on evidence on one calendar day (UTC), `yyyy-mm-dd`. */
  removals: (backend: string, day: string) => `${removalsPrefix}${backend}/${day}`,
  /** How the passes over a backend's keys stand; `name` says which pass. */
  pass: (name: string) => `pass/${name}`,
  /** Imported files that one drain deleted; a total of its own, so that it can be told when the drain ends. */
  deletedByDrain: (backend: string, since: number) => `${deletedPrefix}${backend}/${since}`,
  /** A person asked that files which a drain left behind rejoin their objects: the next pass over the backend reads them. */
  rejoin: (backend: string) => `rejoin/${backend}`,
  quota: (backend: string) => `${quotaPrefix}${backend}`,
  used: (backend: string) => `used/${backend}`,
  queue: (state: QueueState, backend: string) => `queue/${state}/${backend}`,
  /** What is encrypted with a key. */
  key: (keyId: string) => `${keyPrefix}${keyId}`,
  placement: (label: string) => `${placementPrefix}${label}`,
} as const;

/** The ledger placement that a row is the total of; undefined for any other row. */
export function placementOfRow(row: string): string | undefined {
  return row.startsWith(placementPrefix) ? row.slice(placementPrefix.length) : undefined;
}

/** The backend that a quota row gates; undefined for any other row. */
export function backendOfQuotaRow(row: string): string | undefined {
  return row.startsWith(quotaPrefix) ? row.slice(quotaPrefix.length) : undefined;
}

/** The encryption key whose objects a row counts; undefined for any other row. */
export function keyOfRow(row: string): string | undefined {
  return row.startsWith(keyPrefix) ? row.slice(keyPrefix.length) : undefined;
}

/** The backend and day whose removals a row counts; undefined for any other row. */
export function removalsOfRow(row: string): { readonly backend: string; readonly day: string } | undefined {
  if (!row.startsWith(removalsPrefix)) return undefined;
  const [backend, day] = row.slice(removalsPrefix.length).split('/');
  return backend === undefined || day === undefined ? undefined : { backend, day };
}

export function isDrainRow(row: string): boolean {
  return row.startsWith(drainPrefix);
}

/** Whether a total is of files that a drain of this backend deleted. */
export function isDeletedByDrain(row: string, backend: string): boolean {
  return row.startsWith(`${deletedPrefix}${backend}/`);
}

/** Whether a total follows from the records and queue items that there are. */
export function isCountable(row: string): boolean {
  return !row.startsWith(deletedPrefix);
}

/** The rows that describe one backend, its totals aside: a name that is given up, and one day returns, begins without them. */
export function rowsAbout(backend: string): readonly string[] {
  const { drain, breaker, capabilities, refusing, rejoin, pass } = rowKeys;
  const recovery = (name: string) => pass(`recover/${name}`);
  return [drain, breaker, capabilities, refusing, rejoin, pass, recovery].map((key) => key(backend));
}
