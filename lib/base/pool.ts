import { createAdmission } from './admission.ts';

/**
 * Runs `step` over `items`, at most `concurrency` at a time, in order of admission.
 * Every step that was started is awaited, even when another one throws; the first error is then thrown.
 */
export async function forEachConcurrently<T>(
  items: Iterable<T>,
  concurrency: number,
  step: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const errors: unknown[] = [];
  const lane = async () => {
    for (let next = iterator.next(); !next.done && errors.length === 0; next = iterator.next()) {
      try {
        await step(next.value);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, concurrency) }, lane));
  if (errors.length > 0) throw errors[0];
}

/** Like `Promise.all`, but ends only once every promise has: nothing stays in flight behind an error. */
export async function allEnded<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const ends = await Promise.allSettled(promises);
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return ends.map((end) => (end as PromiseFulfilledResult<T>).value);
}

/** Work that goes on by itself once it was begun, at most so much at a time. */
export interface HandedOver {
  /** Resolves once there is room and the work was begun. Throws what earlier work threw. */
  begin(work: () => Promise<void>): Promise<void>;
  /** Resolves once all that was begun has ended; throws the first error then. */
  ended(): Promise<void>;
}

export function createHandedOver(most: number): HandedOver {
  const room = createAdmission(most);
  const begun: Promise<void>[] = [];
  const errors: unknown[] = [];
  return {
    async begin(work) {
      const leave = await room.enter(1);
      if (errors.length > 0) {
        leave();
        throw errors[0];
      }
      const ended = work().catch((error: unknown) => void errors.push(error));
      begun.push(ended.finally(leave));
    },
    async ended() {
      await Promise.all(begun);
      if (errors.length > 0) throw errors[0];
    },
  };
}

/** Runs a step over items to which the steps themselves may add. */
export interface GrowingPool<T> {
  /** How many more could be worked on now. */
  readonly free: number;
  add(items: readonly T[]): void;
  /** Resolves once nothing is left, or throws the first error when every step that was started has ended. */
  ended(): Promise<void>;
}

/**
 * No lane ever waits to be woken: one ends when nothing is left to take, and what is added begins another. A step that throws
 * ends its own lane; the others go on.
 */
export function createGrowingPool<T>(concurrency: number, step: (item: T) => Promise<void>): GrowingPool<T> {
  const waiting: T[] = [];
  const lanes: Promise<void>[] = [];
  const errors: unknown[] = [];
  let free = Math.max(1, concurrency);
  const lane = async () => {
    free -= 1;
    try {
      while (waiting.length > 0) await step(waiting.shift()!);
    } catch (error) {
      errors.push(error);
    } finally {
      free += 1;
    }
  };
  return {
    get free() {
      return free;
    },
    add(items) {
      waiting.push(...items);
      while (free > 0 && waiting.length > 0) lanes.push(lane());
    },
    async ended() {
      // More may be begun while these are awaited.
      for (const one of lanes) await one;
      if (errors.length > 0) throw errors[0];
    },
  };
}
