import { instead, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Defects of where copies may be, and of what keeps them apart. */
export const spreadMutants: readonly Mutant[] = [
  { name: 'copies go where their policy does not allow them', edits: [withoutGuard('isOfUse', 'allows')] },
  {
    name: 'objects whose copies stand at one provider are left there',
    edits: [instead('missingOf', ['copies', 'groups'], 'copies')],
  },
  {
    name: 'the cleaner takes the copy at the other provider',
    edits: [withoutOperand('surplusOf', 'groupsHeld', 'groups')],
  },
  {
    name: 'a copy is moved to where another stands already',
    edits: [withoutOperand('mayMove', 'groupsHeld')],
  },
];
