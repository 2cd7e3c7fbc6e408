import { before, field, first, instead, never, variable, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

const enqueueingWithoutRev = instead('enqueueDeletes', ['all', 'movingRev'], 'all.map(queueOnly)');

/** The one door, the ledger, and what is charged. */
export const commitMutants: readonly Mutant[] = [
  { name: 'no rev condition', edits: [instead('refusalOf', ['rev'], "'generation'")] },
  { name: 'sweep without moving rev', edits: [enqueueingWithoutRev] },
  {
    name: 'orphan queued in a second transaction',
    edits: [
      first(
        'commit',
        `if (swaps.some((s) => s.orphans !== undefined && !s.isLater)) {
          const orphansIn = ({ changes, orphanIds }) =>
            changes.flatMap((c) => (c.kind === 'queue' && orphanIds.has(c.put.id) ? [c.put] : []));
          const lost = swaps.map((s, i) => orphansIn(prepare(s, i)));
          const done = await commit(deps, swaps.map((s) => ({ ...s, isLater: true })), deadline);
          const later = swaps.map((s, i) => ({ key: s.key, enqueuesDeletes: done[i].outcome === 'committed' ? lost[i] : [] }));
          await commit(deps, later.filter((s) => s.enqueuesDeletes.length > 0), deadline);
          return done;
        }`,
      ),
      first('orphansOf', 'if (swap.isLater) return [];'),
    ],
  },
  {
    name: 'no resend of an unknown answer',
    edits: [before('send#request', ['unanswered'], "if (error.kind === 'unanswered') return { event: 'time-up' };")],
  },
  {
    name: 'ledger outside the transaction',
    edits: [
      variable(
        'send#request',
        'answer',
        `await (async () => {
          const first = await store.transact(changes.filter((c) => c.kind !== 'add'), token);
          const adds = changes.filter((c) => c.kind === 'add');
          if (first.outcome === 'done' && adds.length > 0) await store.transact(adds, token + 'L');
          return first;
        })()`,
      ),
    ],
  },
  {
    name: 'any refusal is a no while a send is unanswered, and enqueueing does not move rev',
    edits: [variable('afterEvent', 'isSettled', '$ || !isConflictOnly(refusals)'), enqueueingWithoutRev],
  },
  {
    name: 'an unknown answer is taken for a lost swap, and enqueueing does not move rev',
    edits: [
      before(
        'send#request',
        ['unanswered'],
        `if (error.kind === 'unanswered')
           return { event: 'refused', refusals: changes.map((c) => (c.kind === 'object' ? { cause: 'object', seen: null } : null)) };`,
      ),
      enqueueingWithoutRev,
    ],
  },
  {
    name: 'a commit looks at the clock before it pauses, and not after',
    edits: [
      before('send#send', ['pause'], 'const askedAt = deps.clock.now();'),
      instead('send#send', ['now', 'last'], 'askedAt >= last'),
    ],
  },
  {
    name: 'those who have time are given up with those who have not',
    edits: [withoutOperand('together', 'slackMs')],
  },
  {
    name: 'bytes that were queued, and are no more by the next attempt, end a swap',
    edits: [withoutGuard('afterRefusal', 'orphanIds')],
  },
  {
    name: 'a copy that a new one on the same backend replaces is not queued for deletion',
    edits: [instead('orphansOf', ['kept', 'copyId'], 'kept[backend] !== undefined')],
  },
  {
    name: 'replaced bytes are not queued',
    edits: [instead('orphansOf', ['kept', 'copyId'], "$ || swap.orphans?.cause === 'replaced'")],
  },
  { name: 'plain key deleted', edits: [withoutGuard('orphansOf', 'deletesPlain')] },
  {
    name: 'a file of an external client goes with its record, although nobody asked',
    edits: [withoutOperand('orphansOf', 'deletesPlain')],
  },
  {
    name: 'bytes that could not be recorded are not enqueued for deletion',
    edits: [instead('enqueueOrphans', ['enqueueDeletes', 'all'], "all.map(() => 'undecided')")],
  },
  {
    name: 'new bytes are charged without the condition of the quota',
    edits: [variable('newLedgerDelta', 'gate', '{}')],
  },
  {
    name: 'the ledger is repaired by one count, whatever moved meanwhile',
    edits: [variable('recount', 'agreed', 'differences'), variable('differencesOf', 'moved', 'new Set()')],
  },
  { name: 'grace zero', edits: [field('readParameters', 'graceMs', '0')] },
  {
    name: 'copies on an unhealthy backend counted',
    edits: [withoutOperand('standingNow', 'isLongUnhealthy')],
  },
  { name: 'a draining backend counts', edits: [withoutOperand('standingNow', 'isDraining')] },
  {
    name: 'lease without epoch',
    edits: [instead('updateLease', ['epoch', 'holder', 'lease'], 'before === undefined')],
  },
  {
    name: 'a lease is taken while another holds it',
    edits: [never('acquireLease', 'before', 'holder', 'expiresAt')],
  },
  { name: 'a lease is written under an older epoch', edits: [never('updateLease', 'epoch', 'holder')] },
];
