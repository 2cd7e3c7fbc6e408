/** What routing needs to know of a backend that may receive a copy. */
export interface Target {
  readonly name: string;
  readonly usedBytes: number;
  /** 0 = no limit. */
  readonly limitBytes: number;
}

/**
 * Backends in the order in which they are tried: `pack` in the order given (that of the fleet file), `spread` by
 * utilisation, lowest first. Backends without a limit have utilisation 0; equals keep their order.
 */
export function routeOrder<T extends Target>(targets: readonly T[], routing: 'pack' | 'spread'): T[] {
  if (routing === 'pack') return [...targets];
  return [...targets].sort((a, b) => utilisation(a) - utilisation(b));
}

/** Used / limit, 0 without a limit. */
export function utilisation({ usedBytes, limitBytes }: Pick<Target, 'usedBytes' | 'limitBytes'>): number {
  return limitBytes === 0 ? 0 : usedBytes / limitBytes;
}

/** What routing needs to know of a backend that holds a copy. */
export interface Source {
  readonly name: string;
  readonly isReachable: boolean;
  readonly egressUsdPerGb: number;
}

/** Copies in the order in which they are read: reachable first, then the cheapest egress, then by name. */
export function sourceOrder<T extends Source>(sources: readonly T[]): T[] {
  return [...sources].sort(
    (a, b) =>
      Number(b.isReachable) - Number(a.isReachable) ||
      a.egressUsdPerGb - b.egressUsdPerGb ||
      (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
}
