/** Spent on one backend. */
export interface Usage {
  readonly requests: number;
  readonly egressBytes: number;
  readonly ingressBytes: number;
}

export const noUsage: Usage = Object.freeze({ requests: 0, egressBytes: 0, ingressBytes: 0 });

export function plusUsage(before: Usage, more: Partial<Usage>): Usage {
  return {
    requests: before.requests + (more.requests ?? 0),
    egressBytes: before.egressBytes + (more.egressBytes ?? 0),
    ingressBytes: before.ingressBytes + (more.ingressBytes ?? 0),
  };
}
