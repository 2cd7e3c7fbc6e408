/** Finds a listing that goes round in a circle of places: one of them is remembered, for twice as long each time. */
export interface PageTrail {
  readonly anchor: string;
  readonly steps: number;
  readonly limit: number;
}

/**
 * Brent's method: a place that comes back is met again after a few rounds of its circle, whatever its length, though only one
 * is remembered. Source: R. P. Brent, "An improved Monte Carlo factorization algorithm", BIT 20 (1980), section 2.
 */
export function behindPlace(trail: PageTrail | undefined, place: string): PageTrail | 'circle' {
  if (trail === undefined) return { anchor: place, steps: 0, limit: 1 };
  if (trail.anchor === place) return 'circle';
  const steps = trail.steps + 1;
  return steps < trail.limit ? { ...trail, steps } : { anchor: place, steps: 0, limit: trail.limit * 2 };
}

/** Storage may answer empty pages on its way to the next key; so many in a row, and it is on no way at all. */
export const mostIdlePages = 100;

/** Looks at each page of a listing that is read to its end at once. */
export interface PageWatch {
  /**
   * Whether a listing that goes on at `place` comes to an end: false where it goes round, and where it has named nothing new for
   * a hundred pages, since whoever mints a place for every page would be followed for ever.
   */
  comesToAnEnd(place: string, namesAnythingNew: boolean): boolean;
}

export function createPageWatch(): PageWatch {
  let trail: PageTrail | 'circle' | undefined;
  let idle = 0;
  return {
    comesToAnEnd(place, namesAnythingNew) {
      idle = namesAnythingNew ? 0 : idle + 1;
      if (trail !== 'circle') trail = behindPlace(trail, place);
      return trail !== 'circle' && idle < mostIdlePages;
    },
  };
}
