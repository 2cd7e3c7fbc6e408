import { always, first, instead, never, variable, withoutField, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** The one hand that deletes, what waits for it, and drains. */
export const cleanupMutants: readonly Mutant[] = [
  {
    name: 'delete by object key',
    edits: [variable('deleteOn', 'requests', '$.map((request, i) => ({ ...request, storageKey: rest[i].key }))')],
  },
  { name: 'cleanup without the record check', edits: [never('cleanBatch', 'namesBytes')] },
  { name: 'quarantined bytes are taken back on any claim', edits: [withoutOperand('takeBack', 'isFirst')] },
  { name: 'claims are not conditional', edits: [variable('claimAll', 'expect', "{ state: 'cleanup' }")] },
  {
    name: 'a file of an external client is deleted whatever it is now',
    edits: [withoutField('deleteOn', 'ifMatch')],
  },
  {
    name: 'what an owner overwrote goes before the new content is at its factor',
    edits: [first('isStillNeeded', 'return false;')],
  },
  { name: 'unfinished uploads are left', edits: [never('abortOpenUploads', 'mayHaveParts')] },
  {
    name: 'the clean-up of an abandoned put leaves its unfinished upload open',
    edits: [variable('abortOpenUploads', 'mayHaveParts', 'transfer !== undefined')],
  },
  {
    name: 'an upload in parts that a worker gives up is left open, and its key forgotten',
    edits: [variable('abortOpenUploads', 'mayHaveParts', '$ && intent !== undefined')],
  },
  {
    name: 'a bucket that was taken over is cleaned up before it is recovered',
    edits: [withoutGuard('openLanes', 'onlyReports')],
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
  { name: 'the reaper promotes over newer writes', edits: [never('decide', 'replaces')] },
  {
    name: 'reaper ignores size',
    edits: [never('decide', 'sizeBytes'), always('examineIntent', 'after', 'undefined')],
  },
  { name: 'the reaper promotes what it has not read', edits: [always('examineIntent', 'after', 'undefined')] },
];
