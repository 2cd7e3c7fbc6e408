import { before, field, instead, variable } from './edits.ts';
import type { Mutant } from './mutated.ts';

const putWithoutIntent = field('recording', 'completes', '[]');

/** What the library promises: puts, gets and deletes. */
export const clientMutants: readonly Mutant[] = [
  { name: 'record before bytes', edits: [instead('tryBackend', ['upload', 'item'], '$.catch(() => {}), null')] },
  { name: 'a put commits without its intent', edits: [putWithoutIntent] },
  {
    name: 'a put commits without its intent, and cleanup deletes without looking at the record',
    edits: [putWithoutIntent, variable('decide#decide', 'naming', 'undefined')],
  },
  {
    name: 'a put that lost is taken for done',
    edits: [instead('ownRecord', ['put', 'generation'], 'entry?.generation')],
  },
  {
    name: 'a put whose intent was taken from it counts as done whenever the key has an entry',
    edits: [instead('putUntilDone', ['now', 'seen', 'generation'], 'now !== null')],
  },
  {
    name: 'reads are not verified',
    edits: [instead('openOn', ['verifying', 'found', 'md5'], 'md5 === undefined ? found.body : $')],
  },
  {
    name: 'delete without a tombstone over nothing',
    edits: [before('remove', ['deletesPlain'], 'if (before === null) return false;')],
  },
  {
    name: 'a tombstone that remembers a plain file expires like any other',
    edits: [
      instead(
        'expiring',
        ['isRemembering', 'plainEtags', 'tombstoneMs'],
        '{ plainEtags, ttl: Math.ceil((rest.deletedAt + tombstoneMs) / 1000) }',
      ),
    ],
  },
];
