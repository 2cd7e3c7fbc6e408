import { first, instead, variable } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Refusals, stuck objects, trust in targets, and limits that are claimed before a big copy begins. */
export const refusalsMutants: readonly Mutant[] = [
  {
    name: 'a backend that refuses an object takes no other in this tick',
    edits: [instead('blameFor', ['object', 'refusal'], "{ on: 'target', backend }")],
  },
  {
    name: 'stuck objects are never tried again',
    edits: [first('findStuck', "return { wanting: [], lifted: [], next: 'done' };")],
  },
  { name: 'a refusal never ends', edits: [variable('reasonFor', 'nextTryAt', 'Number.MAX_SAFE_INTEGER')] },
  { name: 'the label of stuck ones stays on objects that want nothing', edits: [first('liftStuck', 'return;')] },
  {
    name: 'a target that failed once is off for good',
    edits: [first('isLeftAlone', 'return refusingOf(tick.view, backend) !== undefined;')],
  },
  {
    name: 'every target is said to take no writes',
    edits: [first('refusalOfWrites', "return { outcome: 'refused', message: 'no' };")],
  },
  { name: 'what big copies are to move is not claimed', edits: [first('claimsOf', 'return [];')] },
  { name: 'no other target takes what one held back', edits: [first('letOthersTake', 'return;')] },
  {
    name: 'a source that falls silent is taken for a target that failed',
    edits: [
      first(
        'copy#explain',
        `if (error.cause instanceof SourceSilence)
           return { outcome: 'target-failed', error: new BackendError('timeout', error.backend, '', error, { verdict: 'backend' }) };`,
      ),
    ],
  },
  {
    name: 'a refused big copy ends without a word on the record',
    edits: [instead('endRefused', ['withRefusals', 'refusals'], 'before')],
  },
];
