import type { QueueItem } from '../../../lib/store/model.ts';
import type { Actor } from '../operation.ts';
import { keyWithin } from './reading.ts';
import { namedBy, placeOf, type Sight } from './sight.ts';
import { Violation } from './violation.ts';

/** Invariant 3, the one hand that deletes, and the grace it gives. */
export interface DeletesCheck {
  queueChanged(before: QueueItem | null, id: string, after: QueueItem | null): void;
  /** A delete request is sent. */
  asked(actor: Actor, backend: string, storageKey: string): void;
  /** It takes effect, perhaps much later. */
  happens(actor: Actor, backend: string, storageKey: string): void;
}

const graceMs = 300_000;
/** Two clocks may be this far apart. */
const skewMs = 10_000;

export function createDeletesCheck(
  sight: Sight,
  isStranger: (backend: string, key: string) => boolean,
  minAgeMs: number,
): DeletesCheck {
  const { world, queue, report } = sight;
  const endedAt = new Map<string, number>();
  /** When an item was due before anyone claimed it. */
  const dueOf = new Map<string, number>();

  function refuse(actor: Actor, backend: string, storageKey: string, what: string): void {
    report(
      new Violation(
        '3 deletes',
        `${actor.name} ${what}: "${storageKey}" on ${backend}`,
        keyWithin(storageKey) ?? undefined,
      ),
    );
  }

  function happens(actor: Actor, backend: string, storageKey: string): void {
    if (namedBy(sight, backend, storageKey) !== undefined)
      refuse(actor, backend, storageKey, 'deletes what a record names');
    if (isStranger(backend, storageKey)) refuse(actor, backend, storageKey, 'deletes what we did not write');
  }

  /** N2: what was written a moment ago is about to be recorded. */
  function checkAge({ backend, storageKey, key }: QueueItem): void {
    const writtenAt = sight.backends.get(backend)!.contents().get(storageKey)?.lastModified;
    const ageMs = world.now - (writtenAt ?? 0);
    if (ageMs < minAgeMs - skewMs)
      report(new Violation('3 deletes', `A sweep condemns "${storageKey}" on ${backend}, ${ageMs} ms old`, key));
  }

  return {
    happens,
    asked(actor, backend, storageKey) {
      happens(actor, backend, storageKey);
      const id = placeOf(backend, storageKey);
      const item = queue.get(id);
      if (actor.role !== 'cleanup-queue') refuse(actor, backend, storageKey, 'deletes, and only one hand may');
      // Another tick may have ended the item since this one claimed it.
      if (item === undefined && (endedAt.get(id) ?? -1) < actor.startedStep)
        refuse(actor, backend, storageKey, 'deletes what is not queued');
      if (item?.state === 'intent' || item?.state === 'transfer')
        refuse(actor, backend, storageKey, `deletes bytes of ${item.state === 'intent' ? 'an intent' : 'a transfer'}`);
      // An item that came back was due, and may be claimed, while a record still named its bytes.
      if (!sight.revived.has(id) && world.now < (dueOf.get(id) ?? 0) - skewMs)
        refuse(actor, backend, storageKey, 'deletes before it is due');
    },
    queueChanged(before, id, after) {
      if (after === null) {
        endedAt.set(id, world.step);
        return;
      }
      if (before === null && after.reason === 'orphan') checkAge(after);
      if (after.claimedBy === undefined) dueOf.set(id, after.dueAt);
      if (before === null && after.state === 'cleanup' && after.dueAt - after.createdAt < graceMs)
        report(new Violation('grace', `${id} is queued for deletion without the grace that readers need`, after.key));
    },
  };
}
