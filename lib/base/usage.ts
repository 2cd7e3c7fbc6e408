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
  const { requests = 0, classA = 0, classB = 0, egressBytes = 0, ingressBytes = 0 } = more;
  // Written out: it is called many times with every request.
  return {
    requests: before.requests + requests,
    classA: before.classA + classA,
    classB: before.classB + classB,
    egressBytes: before.egressBytes + egressBytes,
    ingressBytes: before.ingressBytes + ingressBytes,
  };
}

/** What is left of an amount: never less than nothing. */
export function minusUsage(before: Usage, less: Partial<Usage>): Usage {
  return eachOf((field) => Math.max(0, before[field] - (less[field] ?? 0)));
}

/** Of two amounts, whichever is less, or more, of each. */
export function leastUsage(one: Usage, other: Usage): Usage {
  return eachOf((field) => Math.min(one[field], other[field]));
}

export function mostUsage(one: Usage, other: Usage): Usage {
  return eachOf((field) => Math.max(one[field], other[field]));
}

/** So many times an amount, in whole units. */
export function timesUsage(one: Usage, factor: number): Usage {
  return eachOf((field) => Math.floor(one[field] * factor));
}

function eachOf(amount: (field: UsageField) => number): Usage {
  return {
    requests: amount('requests'),
    classA: amount('classA'),
    classB: amount('classB'),
    egressBytes: amount('egressBytes'),
    ingressBytes: amount('ingressBytes'),
  };
}
