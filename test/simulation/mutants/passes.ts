import { field, first, instead, variable, without, withoutGuard } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Whatever was read is good. */
const firstComes = `const one = all.find(({ reading }) => 'sha256' in reading);
  if (one !== undefined) return { outcome: 'good', sha256: one.reading.sha256, copies: [one.candidate] };`;

/** Listings compared with records, imports, and what is recovered by marks. */
export const passesMutants: readonly Mutant[] = [
  {
    name: 'listing error taken for the end',
    edits: [
      instead(
        'createListingFeed',
        ['stopOf', 'error'],
        "{ outcome: 'end', items: [], unreadable: [], askedAt, behind: position }",
      ),
    ],
  },
  { name: 'sweep without min age', edits: [withoutGuard('turnFor', 'reconcilerMinAgeMs')] },
  {
    name: 'import while a delete is queued',
    // Before it stands what the record remembers of the file.
    edits: [
      withoutGuard('whyNotImported', 'plainEtags'),
      withoutGuard('whyNotImported', 'deletedAt'),
      first('isQueued', 'return false;'),
    ],
  },
  {
    name: 'what a delete left behind is imported again',
    edits: [withoutGuard('whyNotImported', 'plainEtags'), withoutGuard('whyNotImported', 'deletedAt')],
  },
  {
    name: 'files with another mark are imported',
    edits: [
      withoutGuard('judgeUnnamed', 'foreign'),
      instead('judgeUnnamed', ['mark', 'none'], "mark.outcome !== 'ours'"),
    ],
  },
  {
    name: 'files join whatever they hold',
    edits: [first('compareFile', "return { outcome: 'compared', difference: 'none' };")],
  },
  {
    name: 'a file with a mark joins an object that has its bytes',
    edits: [instead('read-file#readFile', ['carriesMark', 'reading', 'found', 'metadata'], 'false')],
  },
  {
    name: 'a file with other headers joins an object that has its bytes',
    edits: [first('hasHeadersOf', 'return true;')],
  },
  {
    name: 'an imported file that carries a mark stays recorded',
    edits: [first('leaveForeign', "return 'unchanged';")],
  },
  { name: 'a draining backend is filled with imports', edits: [withoutGuard('whyNotImported', 'draining')] },
  {
    name: 'an owner who overwrites a file is not noticed',
    edits: [
      first('settleOverwritten', "return { outcome: 'settled', what: '' };"),
      instead('scrub-object#settleChanged', ['settlePlainChange', 'tick', 'object', 'backend'], "'unchanged'"),
    ],
  },
  {
    name: 'a key that answers an error keeps the pass from the others',
    edits: [instead('turnOfError', ['error', 'speaksOf', 'object'], 'false')],
  },
  {
    name: 'a range is done although keys of it are pending',
    edits: [first('retryPending', "return { range: { ...from, position: { phase: 'done' } } };")],
  },
  {
    name: 'a cut leaves what stands behind it to nobody',
    edits: [
      without('shareRange', 'sharing', 'give'),
      variable('completeIfDone', 'hasGap', 'false'),
      instead('completeIfDone', ['some', 'done'], 'false'),
    ],
  },
  {
    name: 'recovery leaves what the restored queue takes for a write under way',
    edits: [instead('mayBeRecorded', ['isRecoveryPending', 'isOfLostTime'], 'false')],
  },
  {
    name: 'a drain that restored tables show as done keeps copies from being recovered',
    edits: [first('beginDrainsAnew', 'return true;')],
  },
  { name: 'recovery believes what it reads first', edits: [first('judgeGeneration', firstComes)] },
  {
    name: 'recovery lets a mark replace a live record',
    // Behind it stands that what one backend alone holds replaces nothing that verifies.
    edits: [first('isLive', 'return false;'), first('mayReplace', 'return true;')],
  },
  {
    name: 'recovery queues what loses its record',
    edits: [
      field(
        'record',
        'keepsBytes',
        "false, orphans: { cause: 'superseded', reason: 'recovered', dueAt: 0, createdAt: 0 }",
      ),
    ],
  },
  {
    name: 'recovery takes ciphertext for content',
    edits: [variable('recordGood', 'encryption', 'null'), variable('recordGood', 'isSaidOtherwise', 'false')],
  },
  {
    name: 'recovery believes what was minted long after it was stored',
    edits: [field('markedAt', 'isFromTheFuture', 'false')],
  },
  {
    name: 'what a recovery passed over is queued by later sweeps',
    edits: [variable('whyKept', 'isPassedOver', 'false')],
  },
  {
    name: 'recovery ends before every backend was gone through',
    edits: [variable('completeRecovery', 'isOpen', 'false')],
  },
];
