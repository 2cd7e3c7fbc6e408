import { type Move, newPlanDraft, type PlanBackend, type PlanInput } from './plan-draft.ts';

/**
 * Plans moves that even out utilisation: always from the backend most over the target ratio to the one most under it.
 *
 * The target is total used / total limit over the limited backends. No move takes its source below the target nor its
 * destination above it, nor beyond free = limit − used − orphans. Draining, unreachable and unlimited backends receive
 * nothing; unlimited and unreachable ones give nothing. An object is planned once, never towards a backend in its
 * `backends`; one that does not fit is passed over for the next. Pure; sizes in bytes. Source: greedy load balancing,
 * largest excess to largest deficit; it need not find the fewest moves.
 *
 * @example a holds 80 of 100 bytes in objects of 30 (k1) and 20 (k2), b 20 of 100: the target is 0.5. k1 leaves a at 50
 *   and b at 50, so the plan is [{ key: 'k1', from: 'a', to: 'b', sizeBytes: 30 }]; k2 would overshoot.
 */
export function planSpreadEven(input: PlanInput): Move[] {
  const draft = newPlanDraft(input);
  const limited = input.backends.filter(({ limitBytes }) => limitBytes > 0);
  const totalLimit = limited.reduce((sum, { limitBytes }) => sum + limitBytes, 0);
  const totalUsed = limited.reduce((sum, { usedBytes }) => sum + Math.max(0, usedBytes), 0);
  // Compared as products: ratios that should be equal differ in the last place.
  const excess = (backend: PlanBackend, usedBytes: number) => usedBytes * totalLimit - totalUsed * backend.limitBytes;
  const mayMove = (from: PlanBackend, to: PlanBackend) => (sizeBytes: number) =>
    excess(from, draft.usedBytes(from) - sizeBytes) >= 0 && excess(to, draft.usedBytes(to) + sizeBytes) <= 0;
  const moveOne = () => {
    const byRatio = (a: PlanBackend, b: PlanBackend) => draft.ratio(a) - draft.ratio(b);
    const over = draft.sources.filter((b) => excess(b, draft.usedBytes(b)) > 0).sort((a, b) => byRatio(b, a));
    const under = draft.destinations.filter((b) => excess(b, draft.usedBytes(b)) < 0).sort(byRatio);
    return over.some((from) => under.some((to) => draft.moveNext(from, to, mayMove(from, to))));
  };
  while (!draft.isFull() && moveOne());
  return [...draft.moves];
}
