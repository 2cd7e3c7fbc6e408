import type { Actor } from '../operation.ts';
import type { Sight } from './sight.ts';
import { Violation } from './violation.ts';

/** What an operator was told of a drain: once it is done nothing names the backend, and nothing will while it lasts. */
export interface DrainsCheck {
  tickBegan(actor: Actor): void;
  /** Somebody asks for a drain. */
  asked(backend: string, deletesImported: boolean): void;
  /** Whether the tick at work may have read that a backend drains: it does, it did when the tick began, or was to since. */
  mayBeSeen(backend: string): boolean;
  /** Whether anybody ever asked to delete what was imported there with a drain. */
  mayDeleteImported(backend: string): boolean;
  /** Whether it must have read so: the drain is older than the tick. */
  isSeen(backend: string): boolean;
  isNow(backend: string): boolean;
  /** Somebody was told that the drain which began at `since` is done. */
  told(backend: string, since: number): void;
  /** Bytes on a backend are named in this step that were not before. */
  named(backend: string, what: string): void;
}

/** A Lambda ends after 15 minutes. */
const longestTickMs = 900_000;

export function createDrainsCheck(sight: Sight, drains: () => ReadonlyMap<string, number>): DrainsCheck {
  const toldOf = new Map<string, number>();
  const beganWith = new WeakMap<Actor, ReadonlySet<string>>();
  const askedAt = new Map<string, number>();
  const deleting = new Set<string>();

  return {
    tickBegan: (actor) => void beganWith.set(actor, new Set(drains().keys())),
    asked(backend, deletesImported) {
      askedAt.set(backend, sight.world.step);
      if (deletesImported) deleting.add(backend);
    },
    mayDeleteImported: (backend) => deleting.has(backend),
    isSeen(backend) {
      const actor = sight.world.current?.actor;
      return drains().has(backend) && actor !== undefined && beganWith.get(actor)?.has(backend) === true;
    },
    isNow: (backend) => drains().has(backend),
    mayBeSeen(backend) {
      const actor = sight.world.current?.actor;
      if (actor === undefined) return false;
      const isNews = (askedAt.get(backend) ?? -1) >= actor.startedStep;
      return isNews || drains().has(backend) || beganWith.get(actor)?.has(backend) === true;
    },
    told(backend, since) {
      // The answer may be late: another drain may have begun since.
      if (drains().get(backend) !== since) return;
      toldOf.set(backend, since);
      if (sight.world.now - since < longestTickMs) refuse(backend, 'while a tick that began before it may still run');
      for (const entry of sight.objects.values())
        if (entry.kind === 'object' && backend in entry.copies)
          refuse(backend, `while a record still names "${entry.key}" there`);
      for (const item of sight.queue.values())
        if (item.backend === backend) refuse(backend, `while ${item.id} is still queued`);
    },
    named(backend, what) {
      const { current } = sight.world;
      // A request that nobody waits for any more may take effect whenever it likes.
      if (toldOf.get(backend) === undefined || current === null || current.isDetached) return;
      if (toldOf.get(backend) === drains().get(backend))
        refuse(backend, `and then ${current.actor.name} names ${what}`);
    },
  };

  function refuse(backend: string, what: string): void {
    sight.report(new Violation('drain', `An operator was told that ${backend} is drained, ${what}`));
  }
}
