/** Spent on one backend. */
export interface Usage {
  /** Every one that was sent, of whichever class. */
  readonly requests: number;
  /** Those that are billed like writes and listings. */
  readonly classA: number;
  /** Those that are billed like reads. */
  readonly classB: number;
  readonly egressBytes: number;
  readonly ingressBytes: number;
}

export const usageFields = ['requests', 'classA', 'classB', 'egressBytes', 'ingressBytes'] as const;
export type UsageField = (typeof usageFields)[number];

export const noUsage: Usage = Object.freeze({ requests: 0, classA: 0, classB: 0, egressBytes: 0, ingressBytes: 0 });

export function plusUsage(before: Usage, more: Partial<Usage>): Usage {
  const sum = (field: UsageField) => before[field] + (more[field] ?? 0);
  return {
    requests: sum('requests'),
    classA: sum('classA'),
    classB: sum('classB'),
    egressBytes: sum('egressBytes'),
    ingressBytes: sum('ingressBytes'),
  };
}
