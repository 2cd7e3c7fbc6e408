/**
 * Questions that the simulation has raised and the design has not settled. While one is open, the oracle goes by what the
 * rule says and not by what the invariant asks; set it to false to see the seeds that show the difference.
 */
export const open = {
  /**
   * Rule C2 has the over-replication cleaner HEAD the copies that would remain: a copy whose bytes rotted under an unchanged
   * size counts, so the last good copy may go (invariant 2). Seeds 227, 1008, 1306.
   */
  cleanerTrustsSizes: false,
  /**
   * Rule P1 has the pending reaper promote bytes of the right size: those that a backend stored other than they were sent
   * become the object, in place of a good one. The intent knows their hash.
   */
  reaperTrustsSizes: false,
};
