import type { Target } from './target.ts';

/** What a run tells whoever started it, so that nothing of it stays when it is ended: where it writes, what it has started. */
export type Told =
  | { readonly told: 'writes'; readonly target: Target }
  | { readonly told: 'starts' | 'ended'; readonly pid: number };

/** Resolves once it is told. Nobody listens where a run was started by itself. */
export function tell(what: Told): Promise<void> {
  if (process.send === undefined || process.env.HOLDFAST_REAL_DIR === undefined) return Promise.resolve();
  return new Promise((resolve) => process.send!(what, undefined, undefined, () => resolve()));
}
