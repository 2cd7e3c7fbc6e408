import { always, first, instead, never, variable, withoutField, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** The one hand that deletes, what waits for it, and drains. */
export const cleanupMutants: readonly Mutant[] = [
  { name: 'delete by object key', edits: [variable('prepareCopy', 'request', '{ storageKey: item.key }')] },
  { name: 'cleanup without the record check', edits: [variable('decide#decide', 'naming', 'undefined')] },
  {
    name: 'only the object whose bytes they were is asked before bytes are deleted',
    edits: [first('keysThatMayName', 'return [];')],
  },
  { name: 'quarantined bytes are deleted unseen', edits: [first('judgeWaiting', "return { outcome: 'deletable' };")] },
  {
    name: 'quarantined bytes are restored on any claim',
    edits: [withoutOperand('placeFor', 'claimedBy'), withoutGuard('judge-waiting#restored', 'claimedBy')],
  },
  {
    name: 'quarantined bytes go while no recorded copy verifies',
    edits: [first('ifProven', "if (found.outcome !== 'reading') return { outcome: 'deletable' };")],
  },
  { name: 'claims are not conditional', edits: [variable('claim#claim', 'expect', "{ state: 'cleanup' }")] },
  {
    name: 'a file of an external client is deleted whatever it is now',
    edits: [
      withoutGuard('prepareFile', 'isSameEtag'),
      withoutGuard('prepareFile', 'lastModified'),
      withoutField('prepareFile', 'ifMatch'),
    ],
  },
  {
    name: 'a file that its owner has put there again is deleted for an old item',
    edits: [withoutGuard('prepareFile', 'lastModified')],
  },
  { name: 'a file that is gone is remembered', edits: [first('forgetting', 'return {};')] },
  {
    name: 'what an owner overwrote goes before the new content is at its factor',
    edits: [withoutGuard('decide#decide', 'overwritten')],
  },
  {
    name: 'a deletion of a drain is not asked whether the drain lasts',
    edits: [withoutGuard('decide#decide', 'drainSince')],
  },
  { name: 'unfinished uploads are left', edits: [always('prepareCopy', 'wholeBytes')] },
  {
    name: 'the clean-up of an abandoned put leaves its unfinished upload open',
    edits: [withoutOperand('prepareCopy', 'intent', 'wholeBytes')],
  },
  {
    name: 'an upload in parts that a worker gives up is left open, and its key forgotten',
    edits: [withoutOperand('prepareCopy', 'transfer')],
  },
  {
    name: 'a bucket that was taken over is cleaned up before it is recovered',
    edits: [
      withoutGuard('openLanes', 'isRecoveryPending'),
      withoutGuard('runTick', 'isRecoveryPending'),
      withoutOperand('isDueNow', 'since'),
      withoutGuard('decideNow', 'recovery-pending'),
      withoutGuard('wayOf', 'isOfLostTime'),
      withoutGuard('decideNow', 'isOfLostTime'),
    ],
  },
  {
    name: 'what restored tables had queued is deleted once they are recovered',
    edits: [withoutGuard('wayOf', 'isOfLostTime'), withoutGuard('decideNow', 'isOfLostTime')],
  },
  {
    name: 'what somebody was about to delete is never taken by a recovery',
    edits: [variable('judged', 'isEnough', 'true')],
  },
  {
    name: 'drain completes on one read',
    edits: [
      instead('readTwice', ['first', 'readFleet'], '[first, first]'),
      instead('drainStatus', ['settledAt', 'readAt'], 'view.readAt < since'),
    ],
  },
  {
    name: 'reaper promotes over a delete',
    edits: [instead('decide', ['entry', 'replaces', 'item'], "entry?.kind === 'object' && ($)")],
  },
  { name: 'the reaper promotes over newer writes', edits: [variable('decide', 'isAwaited', 'true')] },
  {
    name: 'reaper ignores size',
    edits: [never('decide', 'sizeBytes'), always('examineIntent', 'after', 'undefined')],
  },
  { name: 'the reaper promotes what it has not read', edits: [always('examineIntent', 'after', 'undefined')] },
];
