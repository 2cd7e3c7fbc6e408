import type { Entry, QueueItem } from '../../../lib/store/model.ts';
import type { Actor } from '../operation.ts';
import type { PlainCheck } from './plain.ts';
import { keyWithin } from './reading.ts';
import { namedBy, placeOf, type Sight } from './sight.ts';
import { Violation } from './violation.ts';

/** Invariant 3, the one hand that deletes, and the grace it gives. */
export interface DeletesCheck {
  queueChanged(before: QueueItem | null, id: string, after: QueueItem | null): void;
  /** A delete request is sent. */
  asked(actor: Actor, backend: string, storageKey: string, ifMatch: string | undefined): void;
  /** It takes effect, perhaps much later. */
  happens(actor: Actor, backend: string, storageKey: string, ifMatch: string | undefined): void;
  recordChanged(before: Entry | null): void;
  /** The drain of a backend that began at `since` is over, and somebody was told so. */
  undrained(backend: string, since: number): void;
}

const graceMs = 300_000;
/** Two clocks may be this far apart. */
const skewMs = 10_000;

export function createDeletesCheck(sight: Sight, plain: PlainCheck, minAgeMs: number): DeletesCheck {
  const { world, queue, report } = sight;
  const endedAt = new Map<string, number>();
  /** For which drain bytes were queued. */
  const drainOf = new Map<string, number>();
  /** The latest drain of each backend of which somebody was told that it is over. */
  const overUntil = new Map<string, number>();
  /** When an item was due before anyone claimed it. */
  const dueOf = new Map<string, number>();
  /** When a record that had enough copies was last changed. */
  const enoughAt = new Map<string, number>();

  function refuse(actor: Actor, backend: string, storageKey: string, what: string): void {
    report(
      new Violation(
        '3 deletes',
        `${actor.name} ${what}: "${storageKey}" on ${backend}`,
        keyWithin(storageKey) ?? undefined,
      ),
    );
  }

  function happens(actor: Actor, backend: string, storageKey: string, ifMatch?: string): void {
    const named = namedBy(sight, backend, storageKey);
    // On condition of another ETag than the recorded one it would leave the recorded file alone.
    const isSpared = ifMatch !== undefined && named?.plainEtags?.[backend] !== ifMatch;
    if (named !== undefined && !isSpared) refuse(actor, backend, storageKey, 'deletes what a record names');
    const place = placeOf(backend, storageKey);
    if (!plain.isExternal(place)) return;
    const reason = plain.whyNotDeleted(place, ifMatch);
    if (reason !== null) refuse(actor, backend, storageKey, reason);
  }

  /** What an owner overwrote stays readable until the new content is at its factor. */
  function isWanted({ key, reason }: QueueItem, since: number): boolean {
    const entry = sight.objects.get(key);
    if (reason !== 'overwritten' || entry?.kind !== 'object') return false;
    return Object.keys(entry.copies).length < sight.lowestFactor(key) && (enoughAt.get(key) ?? -1) < since;
  }

  /** What was written a moment ago is about to be recorded. */
  function checkAge({ backend, storageKey, key }: QueueItem): void {
    const writtenAt = sight.backends.get(backend)!.contents().get(storageKey)?.lastModified;
    const ageMs = world.now - (writtenAt ?? 0);
    if (ageMs < minAgeMs - skewMs)
      report(
        new Violation('3 deletes', `A sweep enqueues for deletion "${storageKey}" on ${backend}, ${ageMs} ms old`, key),
      );
  }

  /** A claim holds until it runs out. */
  function checkClaim(before: QueueItem, { id, key, claimedBy }: QueueItem): void {
    const isTaken = before.claimedBy !== undefined && claimedBy !== undefined && claimedBy !== before.claimedBy;
    if (!isTaken || world.now >= before.dueAt - skewMs) return;
    report(new Violation('one claim', `${id} is claimed ${before.dueAt - world.now} ms before a claim runs out`, key));
  }

  return {
    happens(actor, backend, storageKey, ifMatch) {
      happens(actor, backend, storageKey, ifMatch);
      if (plain.isExternal(placeOf(backend, storageKey))) plain.deleted(placeOf(backend, storageKey), ifMatch);
    },
    asked(actor, backend, storageKey, ifMatch) {
      happens(actor, backend, storageKey, ifMatch);
      const place = placeOf(backend, storageKey);
      const id = ifMatch === undefined ? place : `${place}/${ifMatch}`;
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
      const since = drainOf.get(id);
      if (since !== undefined && since <= (overUntil.get(backend) ?? Number.NEGATIVE_INFINITY))
        refuse(actor, backend, storageKey, 'deletes for a drain that is over');
      if (item !== undefined && isWanted(item, actor.startedStep))
        refuse(actor, backend, storageKey, 'deletes what was overwritten before the new content is at its factor');
    },
    undrained: (backend, since) => void overUntil.set(backend, since),
    recordChanged(before) {
      if (before?.kind === 'object' && Object.keys(before.copies).length >= sight.lowestFactor(before.key))
        enoughAt.set(before.key, world.step);
    },
    queueChanged(before, id, after) {
      if (after === null) {
        endedAt.set(id, world.step);
        return;
      }
      if (after.drainSince === undefined) drainOf.delete(id);
      else drainOf.set(id, after.drainSince);
      if (before === null && after.reason === 'orphan') checkAge(after);
      if (before !== null) checkClaim(before, after);
      if (after.claimedBy === undefined) dueOf.set(id, after.dueAt);
      // What is given up with its backend is deleted by nobody.
      const needsGrace = after.state === 'cleanup' && after.cause !== 'forgotten';
      if (before === null && needsGrace && after.dueAt - after.createdAt < graceMs)
        report(new Violation('grace', `${id} is queued for deletion without the grace that readers need`, after.key));
      const isEnding = ['deleted', 'replaced', 'overwritten'].includes(after.cause);
      if (
        world.current !== null &&
        before === null &&
        isEnding &&
        after.dueAt - after.createdAt < sight.lowestGraceMs(after.key)
      )
        report(new Violation('grace', `${id} waits less long than it can be brought back`, after.key));
    },
  };
}
