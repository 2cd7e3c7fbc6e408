import { always, before, field, instead, variable, withoutGuard, withoutOperand } from './edits.ts';
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
    name: 'a put of several copies returns with the first',
    edits: [instead('missingCopies', ['put', 'copies'], '1')],
  },
  {
    name: 'what the reaper left of a put of several copies comes back over what replaced it',
    edits: [always('withoutExpired', 'generation')],
  },
  {
    name: 'what was claimed for deletion is brought back where it is',
    edits: [withoutOperand('isUnclaimed', 'claimedBy'), instead('held', ['dueAt', 'state', 'intent'], '{ state }')],
  },
  {
    name: 'bytes are brought back unread',
    edits: [
      before(
        'readWaiting',
        ['readCopy'],
        'if (item.sha256 !== undefined && item.headersSha256 !== undefined) return { item, content: { sha256: item.sha256, headersSha256: item.headersSha256 } };',
      ),
    ],
  },
  {
    name: 'what was deleted is brought back over what was put since',
    edits: [withoutGuard('isAllowed', 'unchanged')],
  },
  {
    name: 'what is brought back has the generation that it had',
    edits: [variable('putOf', 'generation', 'bornAs(item)')],
  },
  {
    name: 'what is deleted waits no longer than anything else',
    edits: [instead('deletionDueAt', ['deleteGraceMs', 'file', 'key'], '0')],
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
        ['isRemembering', 'plainEtags', 'lastsMs'],
        '{ plainEtags, ttl: Math.ceil((rest.deletedAt + tombstoneMs) / 1000) }',
      ),
    ],
  },
];
