/**
 * For what histories showed, the seed that showed it when it was found. The whole suite plays each. A change of the simulator
 * gives every seed another history, so what a defect was is also kept by a test or a mutant of its own.
 */
export const regressions: readonly { readonly seed: number; readonly showed: string }[] = [
  {
    seed: 110,
    showed: 'A tick of the reconciler never ended: the store failed one range while others were worked on.',
  },
  {
    seed: 167,
    showed: 'Copies behind a file that its owner had changed were said to be scrubbed, and were not read.',
  },
  {
    seed: 168,
    showed:
      'A record that changed while a first hash was noted had its other copies said to be scrubbed, and not read.',
  },
  {
    seed: 276,
    showed: 'The reaper promoted bytes by their size, which were stored other than sent, over a good object.',
  },
  { seed: 444, showed: 'A put that restored tables took for superseded was not recovered.' },
  { seed: 455, showed: 'A page that went on before its own last key was taken for keys out of order a tick later.' },
  { seed: 479, showed: 'Of two intents of one put the one that lost its swap to the other waited for another tick.' },
  { seed: 529, showed: 'One misread of a file without a hash became its hash.' },
  { seed: 552, showed: 'A sweep, a scrub, a transfer went on with a backend that it had read to be unreachable.' },
  {
    seed: 1010,
    showed: 'A replicator that takes one object at a time never ended its tick while an object was stuck.',
  },
  { seed: 1048, showed: 'A copy of ours whose drain was over was put off for ever.' },
  {
    seed: 1400,
    showed: 'A pass waited for a copy that refused to be read as often as others asked for it.',
  },
  { seed: 1932, showed: 'What restored tables had queued was deleted, though it had been brought back since.' },
  {
    seed: 3455,
    showed: 'A long tick counted one answer of a health check twice, and opened the breaker by itself.',
  },
  { seed: 9996, showed: 'A copy in parts was read back from its target whatever the month still allowed there.' },
];
