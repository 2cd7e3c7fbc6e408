import {
  always,
  before,
  field,
  first,
  instead,
  never,
  variable,
  without,
  withoutGuard,
  withoutOperand,
} from './edits.ts';
import type { Mutant } from './mutated.ts';

/** How copies are made, verified, quarantined and taken away. */
export const copiesMutants: readonly Mutant[] = [
  {
    name: 'last copy quarantined',
    edits: [
      before(
        'findVerifiedCopy',
        ['others', 'length', 0, 'none'],
        "if (others.length === 0) return { outcome: 'good', backend: '', readAt: 0, isAged: false };",
      ),
    ],
  },
  { name: 'quarantine on one bad read', edits: [variable('quarantine', 'evidence', 'doubt')] },
  {
    name: 'a copy is quarantined without another that verifies',
    edits: [withoutGuard('quarantine', 'proof', 'none'), withoutGuard('quarantine', 'proof', 'good')],
  },
  {
    name: 'a suspicion is enough to quarantine a copy',
    edits: [withoutGuard('quarantine', 'isEvidence', 'doubt'), withoutGuard('quarantine', 'isEvidence', 'evidence')],
  },
  { name: 'whole reads go on whatever the month allows', edits: [never('readWindow', 'reason')] },
  { name: 'a read that was proof once is proof for ever', edits: [withoutOperand('knownAlready', 'agesUpToMs')] },
  {
    name: 'a read that was proof holds though the bytes are gone',
    edits: [instead('knownAlready', ['found', 'etag', 'sizeBytes'], 'true')],
  },
  { name: 'a read is gone on with over the bytes of another write', edits: [first('isAbout', 'return true;')] },
  { name: 'a whole read tells by once what nobody hashed', edits: [variable('readToEnd', 'provesItself', 'true')] },
  {
    name: 'what is under a delete marker is missing',
    edits: [instead('readCopy', ['kind', 'not-found'], "$ || error.kind === 'delete-marker'")],
  },
  {
    name: 'cleaner counts unreachable survivors',
    edits: [field('surplus', 'isSafe', 'true')],
  },
  {
    name: 'a file of an external client is surplus',
    edits: [field('surplus', 'mayGo', 'true')],
  },
  { name: 'the cleaner does not look at what remains', edits: [always('cleanOne', 'confirmed', 'outcome')] },
  {
    name: 'the cleaner removes by the fleet as it was before it read',
    edits: [variable('removeGroup', 'wanted', 'group.map(() => true)')],
  },
  { name: 'what left on aged evidence is deleted at once', edits: [field('cleanOne', 'isAged', 'false')] },
  {
    name: 'transfers are not verified',
    edits: [instead('readBack', ['stored', 'sent', 'sha256'], 'stored.sizeBytes >= 0')],
  },
  {
    name: 'one read tells the hash of a big file that nobody hashed',
    edits: [variable('sendAll', 'needsProof', 'false')],
  },
  { name: 'what was stored in parts is not read back', edits: [never('finish', 'isUnproven')] },
  {
    name: 'a copy by the storage is recorded whatever it attests',
    edits: [withoutOperand('copyWithin', 'sha256', 'object')],
  },
  {
    name: 'a copy by the storage that is not as recorded is left lying',
    edits: [without('makeCopy', 'push')],
  },
  { name: 'one read tells the hash of what nobody hashed', edits: [first('isProven', 'return true;')] },
  { name: 'a file is copied although its owner changed it', edits: [variable('copy', 'ifMatch', 'undefined')] },
  {
    name: 'the scrubber asks for copies that have left the record',
    edits: [never('scrubObject', 'current', 'copyId')],
  },
  {
    name: 'what holds back a backend is reported as scrubbed',
    edits: [instead('settledWalk', ['place', 'walked', 'next'], 'walked.next')],
  },
  {
    name: 'a copy that is still being read is reported as scrubbed',
    edits: [never('walkStretch', 'coverage', 'owed')],
  },
  { name: 'cursor not rotated', edits: [without('find-objects#find', 'dryRun')] },
  {
    name: 'what the replicator has just copied hides what stands behind it',
    edits: [instead('findWanting', ['some', 'objects'], 'found.objects.some(({ key }) => !seen.has(key))')],
  },
  {
    name: 'due transfers beyond a batch wait for the next tick',
    edits: [withoutOperand('replicateRound', 'left', 'more')],
  },
  {
    name: 'what a tick cannot copy hides what stands behind it',
    edits: [variable('findByPlacement', 'circle', 'labels.slice(start)')],
  },
];
