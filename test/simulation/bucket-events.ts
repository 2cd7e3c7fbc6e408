import type { PutEvent } from '../../lib/fleet/s3/event-documents.ts';
import type { MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import type { Actors } from './actors.ts';
import type { Plan } from './fleet.ts';
import type { Random } from './random.ts';

export interface BucketEventsDeps {
  readonly plan: Plan;
  readonly actors: Pick<Actors, 'startArrivals'>;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  readonly random: Random;
}

/** What buckets tell of files, and what nobody put is told of: delivered late, again, out of order. */
export interface BucketEvents {
  tell(backend: string, key: string): void;
  /** Something of what was told, or of what somebody made up, reaches a function now; maybe two at once. */
  deliver(): void;
}

const mostWaiting = 30;

/** Half of the histories with imported buckets have them; they draw from a stream of their own, so that the others stay as they are. */
export function createBucketEvents({ plan, actors, backends, random }: BucketEventsDeps): BucketEvents {
  const areOn = plan.imported.length > 0 && random.chance(0.5);
  const waiting: PutEvent[] = [];

  function forged(): PutEvent {
    const bucket = bucketOf(random.pick([...backends.keys()]));
    const present = [...backends.values()].flatMap((backend) => [...backend.contents().keys()]);
    const key = random.chance(0.5) && present.length > 0 ? random.pick(present) : random.pick(plan.keys);
    return { bucket, key };
  }

  return {
    tell(backend, key) {
      if (areOn && waiting.length < mostWaiting) waiting.push({ bucket: bucketOf(backend), key });
    },
    deliver() {
      if (!areOn || random.chance(0.3)) return;
      const puts: PutEvent[] = [];
      for (let i = random.between(1, 3); i > 0; i -= 1) {
        if (waiting.length === 0 || random.chance(0.2)) puts.push(forged());
        else {
          const at = random.below(waiting.length);
          puts.push(waiting[at]!);
          // Some come again, much later.
          if (random.chance(0.7)) waiting.splice(at, 1);
        }
      }
      actors.startArrivals(puts);
      if (random.chance(0.2)) actors.startArrivals(puts);
    },
  };
}

function bucketOf(backend: string): string {
  return `${backend}-bucket`;
}
