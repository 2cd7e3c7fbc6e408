/**
 * For what histories showed, a seed that shows it: as it was found, or as the defect is found when it is put back
 * (`npm run simulate:mutants`). They are always played. A change of the simulator gives every seed another history, so what a
 * defect was is also kept by a test of its own.
 */
export const regressions: readonly { readonly seed: number; readonly showed: string }[] = [
  { seed: 1, showed: 'A tick returned with store reads in flight after one of them had failed.' },
  { seed: 1, showed: 'What an idle tick spent was forgotten, and readings beside each other passed a limit together.' },
  { seed: 5, showed: 'What was spent and could not be written down was forgotten.' },
  { seed: 5, showed: 'A deletion that restored tables still queued cost bytes that had been recorded since.' },
  { seed: 8, showed: 'A half-open breaker let everyone through.' },
  { seed: 12, showed: 'What an idle tick spent was charged to the month of the next one.' },
  {
    seed: 18,
    showed: 'The cleaner looked at the size of what remains, which was rotten, and took the last good copy away.',
  },
  { seed: 18, showed: 'A commit in a hurry gave up those that were grouped with it.' },
  { seed: 19, showed: 'An answer older than what had opened a breaker closed it.' },
  { seed: 64, showed: 'What the replicator had just copied hid what stood behind it.' },
  { seed: 70, showed: 'An imported file was read in full whatever the month still allowed.' },
  { seed: 89, showed: 'Due transfers beyond a batch waited for the next tick.' },
  {
    seed: 276,
    showed: 'The reaper promoted bytes by their size, which were stored other than sent, over a good object.',
  },
  { seed: 444, showed: 'A put that restored tables took for superseded was not recovered.' },
  { seed: 529, showed: 'One misread of a file without a hash became its hash.' },
  { seed: 552, showed: 'A sweep, a scrub, a transfer went on with a backend that it had read to be unreachable.' },
  { seed: 9996, showed: 'A copy in parts was read back from its target whatever the month still allowed there.' },
];
