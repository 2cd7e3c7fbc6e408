import { forEachConcurrently } from '../../base/pool.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';
import { type Place, readStretch } from '../../tick/walk.ts';
import { type CopyVerdict, type Coverage, lacksPlaintext, meaningOf } from './verdicts.ts';

/** What this file asks of a tick. */
export type ScrubWalkTick = Pick<Tick, 'deps' | 'tuning' | 'shards' | 'outOfTime'>;

/** Reads the copies of an object on these backends. */
export type ScrubCopies = (object: ObjectRecord, backends: readonly string[]) => Promise<readonly CopyVerdict[]>;

/** What was found of one copy that the walk has passed. */
export interface Passed {
  readonly object: ObjectRecord;
  readonly verdict: CopyVerdict;
}

/** What a walk over some objects came to, for the backends that stood at one place. */
export interface Walked {
  /** Copies that were looked at. */
  readonly copies: number;
  readonly objects: number;
  /** Behind all of them; undefined at the end of the cycle. */
  readonly next: Place | undefined;
  /** Backends that were held back, and where their cycle goes on. */
  readonly held: ReadonlyMap<string, Place>;
  /** Copies that were passed over, or whose plaintext was, with what was found of each. */
  readonly passed: readonly Passed[];
}

/**
 * Reads objects in the order of the walk, within one shard, until some have a batch of copies on these backends. What holds back a
 * backend holds back its own cycle, at the first copy that was not read: the others go on.
 */
export async function walkStretch(
  tick: ScrubWalkTick,
  at: Place,
  backends: readonly string[],
  limit: number,
  scrub: ScrubCopies,
  coverageOf: (verdict: CopyVerdict) => Coverage = ({ verdict }) => meaningOf(verdict).coverage,
): Promise<Walked> {
  const stretch = await readStretch(tick.deps.store, tick.shards, at, limit);
  const { taken, copies } = take(stretch.objects, backends, limit);
  /** Index of the first object whose copy there was not read. */
  const heldAt = new Map<string, number>();
  const hold = (backend: string, index: number) =>
    heldAt.set(backend, Math.min(index, heldAt.get(backend) ?? Number.POSITIVE_INFINITY));
  const passed: Passed[] = [];
  await forEachConcurrently(taken.entries(), tick.tuning.concurrency, async ([index, object]) => {
    const names = backends.filter((name) => object.copies[name] !== undefined && !heldAt.has(name));
    if (tick.outOfTime()) for (const name of names) hold(name, index);
    else if (names.length > 0) {
      for (const verdict of await scrub(object, names)) {
        const coverage = coverageOf(verdict);
        if (coverage === 'held') hold(verdict.backend, index);
        if (coverage === 'owed' || lacksPlaintext(verdict)) passed.push({ object, verdict });
      }
    }
  });
  const placeBefore = (index: number): Place => (index === 0 ? at : { shard: at.shard, key: taken[index - 1]!.key });
  const isWhole = taken.length === stretch.objects.length;
  return {
    copies,
    objects: taken.length,
    next: isWhole ? stretch.next : { shard: at.shard, key: taken.at(-1)!.key },
    held: new Map([...heldAt].map(([name, index]) => [name, placeBefore(index)])),
    // What is held back is read again from there on.
    passed: passed.filter(
      ({ object, verdict }) => taken.indexOf(object) < (heldAt.get(verdict.backend) ?? Number.POSITIVE_INFINITY),
    ),
  };
}

/** Objects from the beginning of a stretch that have a batch of copies on these backends. */
function take(objects: readonly ObjectRecord[], backends: readonly string[], limit: number) {
  const taken: ObjectRecord[] = [];
  let copies = 0;
  for (const object of objects) {
    if (copies >= limit) break;
    taken.push(object);
    copies += backends.filter((name) => object.copies[name] !== undefined).length;
  }
  return { taken, copies };
}
