import type { Actor } from '../operation.ts';
import { Violation } from './violation.ts';

/** An error is never the end of a listing. */
export interface ListingsCheck {
  /** A page was asked for, and came or did not. */
  listed(by: Actor, backend: string, isAnswered: boolean): void;
  /** A tick says that its pass is complete. */
  passEnded(by: Actor): void;
}

export function createListingsCheck(report: (violation: Violation) => void): ListingsCheck {
  /** Backends of which a process was refused a page and has not asked for it again. */
  const brokenOff = new WeakMap<Actor, Set<string>>();

  return {
    listed(by, backend, isAnswered) {
      const open = brokenOff.get(by) ?? new Set<string>();
      brokenOff.set(by, open);
      if (isAnswered) open.delete(backend);
      else open.add(backend);
    },
    passEnded(by) {
      const [backend] = brokenOff.get(by) ?? [];
      if (backend === undefined) return;
      const message = `${by.name} ends a pass although its listing of ${backend} broke off`;
      report(new Violation('listings', message));
    },
  };
}
