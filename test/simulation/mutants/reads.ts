import { first, variable } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Whole reads over several ticks, and what scrub cycles say of them. */
export const readsMutants: readonly Mutant[] = [
  { name: 'a whole read begins anew in every tick', edits: [variable('beginPass', 'kept', 'undefined')] },
  {
    name: 'a copy that could not be read counts as read',
    edits: [first('meaningOf', "if (verdict === 'unreadable') return meanings.good;")],
  },
  {
    name: 'a scrub cycle passes over what a limit or an outage holds back',
    edits: [first('meaningOf', "if (meanings[verdict].coverage === 'held') return meanings.good;")],
  },
  {
    name: 'a copy that is still being read counts as read',
    edits: [first('meaningOf', "if (verdict === 'reading') return meanings.good;")],
  },
];
