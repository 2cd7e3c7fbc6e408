import { first, instead, never, variable, withoutGuard } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** What belongs to a content besides its bytes: headers, marks, and the key that it is encrypted with. */
export const contentMutants: readonly Mutant[] = [
  {
    name: 'readers do not compare headers',
    edits: [instead('open-copy#problemOf', ['headersProblem', 'expectedHeaders'], 'null')],
  },
  {
    name: 'copies are made of whatever headers their source has',
    edits: [variable('copy#problemOf', 'detail', 'null')],
  },
  { name: 'whole reads do not compare headers', edits: [variable('whyOther', 'problem', 'null')] },
  { name: 'a file that carries a mark is content', edits: [first('carriesMark', 'return false;')] },
  { name: 'a key leaves the file though content is encrypted with it', edits: [withoutGuard('whyNeeded', 'objects')] },
  { name: 'content is named under a key that does not encrypt any more', edits: [never('tryBackend', 'isSealedFor')] },
  {
    name: 'ciphertext is named however long ago its key was looked up',
    edits: [variable('tryBackend', 'until', 'put.deadline'), first('isNamedTooLate', 'return false;')],
  },
  { name: 'a wrong copy that a reader met is read first again', edits: [first('open-copy#suspect', 'return;')] },
  { name: 'what nobody hashed is handed out as it was read', edits: [variable('proving', 'isSo', 'true')] },
  { name: 'parts are completed as they are listed', edits: [first('doubt', 'return;')] },
];
