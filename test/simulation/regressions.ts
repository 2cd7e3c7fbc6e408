/**
 * Seeds that once broke an invariant, each with what it showed. They are always played. A change of the simulator gives every
 * seed another history, so what a seed showed is kept by a test of its own wherever that is possible.
 */
export const regressions: readonly { readonly seed: number; readonly showed: string }[] = [
  { seed: 5, showed: 'A tick returned with store reads in flight after one of them had failed.' },
  { seed: 5442, showed: 'The scrubber asked for a copy that had left the record while it examined another.' },
  {
    seed: 19,
    showed: 'The cleaner looked at the size of what remains, which was rotten, and took the last good copy away.',
  },
  {
    seed: 8,
    showed: 'The reaper promoted bytes by their size, which were stored other than sent, over a good object.',
  },
  { seed: 2170, showed: 'A sweep begins where the last one was cut off: only the second run is a whole pass.' },
  { seed: 3284, showed: 'A commit that ran out of time leaves bytes that only the sweep finds.' },
  {
    seed: 440,
    showed: 'An adopted file that its owner wrote again was read in full whatever the month still allowed.',
  },
];
