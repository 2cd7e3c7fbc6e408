import type { Lease } from '../../../lib/store/model.ts';
import type { Actor } from '../operation.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

/** One holder per epoch, and nothing written under an epoch that is over. */
export interface LeasesCheck {
  /** A tick began; its runtime ends it at `endsAt`, true time. */
  tickBegan(tick: Actor, endsAt: number): void;
  /** A tick asked for a lease: what it was answered, and what the table holds now. */
  leaseAsked(by: Actor, holder: string, answer: Lease | null, row: Lease): void;
  /** A tick wrote under the lease that it was given: whether it was told that this took effect, and what the table holds now. */
  leaseUpdated(by: Actor, under: Lease, isDone: boolean, row: Lease): void;
}

/** Two clocks may be this far apart. */
const skewMs = 10_000;

interface Turn {
  readonly by: Actor;
  isOver: boolean;
}

export function createLeasesCheck(world: World, report: (violation: Violation) => void): LeasesCheck {
  const rows = new Map<string, Lease>();
  const turns = new Map<string, Turn>();
  const endOf = new WeakMap<Actor, number>();
  const wrong = (message: string) => report(new Violation('one lease holder', message));

  /** A tick that is alive and has not given its lease back, unless its runtime should have ended it: that one is a ghost. */
  function stillHeldBy(place: string): Actor | null {
    const turn = turns.get(place);
    if (turn === undefined || turn.isOver || turn.by.state === 'done' || turn.by.state === 'dead') return null;
    return world.now < (endOf.get(turn.by) ?? 0) - skewMs ? turn.by : null;
  }

  return {
    tickBegan: (tick, endsAt) => void endOf.set(tick, endsAt),

    leaseAsked(by, holder, answer, row) {
      const place = placeOf(row);
      const before = rows.get(place);
      rows.set(place, row);
      if (answer === null) {
        if (row !== before) wrong(`${place} changed although ${by.name} was refused`);
        return;
      }
      const other = stillHeldBy(place);
      if (other !== null && other !== by) wrong(`${by.name} takes ${place} while ${other.name} holds it`);
      const epoch = (before?.epoch ?? 0) + 1;
      if (row.epoch !== epoch || answer.epoch !== epoch)
        wrong(`${by.name} was given epoch ${answer.epoch} of ${place}, whose next is ${epoch}`);
      if (row.holder !== holder) wrong(`${place} names another holder than ${by.name}, who was given it`);
      if (row.cursor !== before?.cursor) wrong(`${place} lost its cursor when ${by.name} took it`);
      turns.set(place, { by, isOver: false });
    },

    leaseUpdated(by, under, isDone, row) {
      const place = placeOf(under);
      const before = rows.get(place);
      rows.set(place, row);
      if (!isDone && row !== before) wrong(`${place} changed although ${by.name} was refused`);
      if (row === before) return;
      if (before?.epoch !== under.epoch || before.holder !== under.holder)
        wrong(`${by.name} writes ${place} under epoch ${under.epoch}; epoch ${before?.epoch} has begun`);
      if (row.epoch !== under.epoch) wrong(`${by.name} changed the epoch of ${place}`);
      const turn = turns.get(place);
      if (turn !== undefined && row.expiresAt < world.now - skewMs) turn.isOver = true;
    },
  };
}

function placeOf({ worker, part }: Pick<Lease, 'worker' | 'part'>): string {
  return `the lease of ${worker} ${part}`;
}
