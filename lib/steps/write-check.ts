import { refusingOf, refusingProblem } from '../store/refusing.ts';
import type { Tick } from '../tick/tick.ts';
import type { CheckWritesTick } from './check-writes.ts';
import { createTargetTrust, type TargetTrust } from './target-trust.ts';

/** What this file asks of a tick. */
export type WriteCheckTick = Pick<Tick, 'config' | 'of' | 'view' | 'now' | 'problem'> & CheckWritesTick;

/** Objects that a target may refuse or leave unanswered before it has taken one; n parallel parts have an nth each. */
const mostInDoubt = 10;

/** Whether a backend that took no writes is left alone for now. */
export function isLeftAlone(tick: Pick<Tick, 'view' | 'now'>, backend: string): boolean {
  const refusing = refusingOf(tick.view, backend);
  return refusing !== undefined && refusing.retryAt > tick.now();
}

/** Says of each backend that takes no writes that it does not: an operator must know of it in each tick. */
export function reportRefusing(tick: WriteCheckTick): void {
  for (const { name } of tick.config.backends) {
    const refusing = refusingOf(tick.view, name);
    if (refusing !== undefined && refusing.retryAt > tick.now()) tick.problem(refusingProblem(name, refusing));
  }
}

/** The trust of this tick in its targets. */
export function trustOf(tick: WriteCheckTick): TargetTrust {
  return createTargetTrust({
    limit: Math.max(1, Math.floor(mostInDoubt / tick.of)),
    isDoubted: (backend) => refusingOf(tick.view, backend) !== undefined,
    checkWrites: async (backend) => {
      // Most ticks meet no refusal: a cold start does not load it.
      const { checkWrites } = await import('./check-writes.ts');
      return checkWrites(tick, backend);
    },
  });
}
