import { after, always, first, instead, variable, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Listings compared with records, imports, and what is recovered by marks. */
export const passesMutants: readonly Mutant[] = [
  { name: 'listing error taken for the end', edits: [after('reconcilePage', ['alarm'], 'return undefined;')] },
  { name: 'sweep without min age', edits: [always('comparePage', 'reconcilerMinAgeMs')] },
  {
    name: 'import while a delete is queued',
    // Before it stands what the record remembers of the file.
    edits: [withoutGuard('importFile', 'left-behind'), withoutGuard('importFile', 'queued')],
  },
  { name: 'what a delete left behind is imported again', edits: [withoutGuard('importFile', 'left-behind')] },
  {
    name: 'files with another mark are imported',
    edits: [
      withoutGuard('settleUnnamed', 'foreign'),
      instead('settleUnnamed', ['mark', 'none'], "mark.outcome !== 'ours'"),
    ],
  },
  { name: 'files join whatever they hold', edits: [variable('join', 'isEqual', 'true')] },
  { name: 'a draining backend is filled with imports', edits: [withoutGuard('importFile', 'draining')] },
  {
    name: 'an owner who overwrites a file is not noticed',
    edits: [first('checkEtag', 'return;'), instead('scrubObject', ['settlePlainChange'], "'changed'")],
  },
  {
    name: 'a key that answers an error keeps the pass from the others',
    edits: [instead('settleKey', ['speaksOf', 'object'], '!($)')],
  },
  {
    name: 'recovery leaves what the restored queue takes for a write under way',
    edits: [withoutOperand('settleOurs', 'mayBeRecorded')],
  },
  { name: 'recovery keeps a recorded copy that is not there', edits: [withoutOperand('recover', 'head')] },
];
