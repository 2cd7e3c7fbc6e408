import { type Move, newPlanDraft, type PlanBackend, type PlanInput } from './plan-draft.ts';

/**
 * Plans moves that fill backends up one after the other, so that the others run empty: into the fullest destination
 * first, from the emptiest source upwards.
 *
 * A move goes only from a less full to a more full backend, by used / limit as it is after the moves planned before it, and
 * never beyond free = limit − used − orphans. Draining, unreachable and unlimited backends receive nothing; unlimited and
 * unreachable ones give nothing. An object is planned once, never towards a backend in its `backends`; one that does not
 * fit is passed over for the next. Pure; sizes in bytes. Source: first-fit bin packing, in the order given.
 *
 * @example a holds 70 of 100 bytes, b 40 of 100 in an object of 20 (k1), c 20 of 100 in objects of 15 (k2) and 5 (k3). a has
 *   30 bytes free: k2 and k3 leave c, the emptiest, for a; k1 no longer fits. The plan is
 *   [{ key: 'k2', from: 'c', to: 'a', sizeBytes: 15 }, { key: 'k3', from: 'c', to: 'a', sizeBytes: 5 }]
 */
export function planPackTight(input: PlanInput): Move[] {
  const draft = newPlanDraft(input);
  const moveOne = () => {
    const byRatio = (a: PlanBackend, b: PlanBackend) => draft.ratio(a) - draft.ratio(b);
    const fullestFirst = draft.destinations.toSorted((a, b) => byRatio(b, a));
    const emptiestFirst = draft.sources.toSorted(byRatio);
    return fullestFirst.some((to) =>
      emptiestFirst.some((from) => draft.ratio(from) < draft.ratio(to) && draft.moveNext(from, to, () => true)),
    );
  };
  while (!draft.isFull() && moveOne());
  return [...draft.moves];
}
