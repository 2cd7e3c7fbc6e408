import type { Mutation } from './mutations.ts';

/** Further rules left out. */
export const furtherMutations: readonly Mutation[] = [
  {
    name: 'any refusal is a no while a send is unanswered, and enqueueing for deletion does not move rev',
    edits: [
      {
        file: 'store/commit.ts',
        find: 'if (!isUnanswered) return isConflictOnly',
        replace: 'if (!isConflictOnly || !isUnanswered) return isConflictOnly',
      },
      { file: 'store/enqueue-deletes.ts', find: 'all.map(movingRev)', replace: 'all.map(queueOnly)' },
    ],
  },
  {
    name: 'an unknown answer is taken for a lost swap, and enqueueing for deletion does not move rev',
    edits: [
      {
        file: 'store/commit.ts',
        find: "if (error.kind === 'unanswered') isUnanswered = true;",
        replace: `if (error.kind === 'unanswered')
        return { outcome: 'refused', refusals: changes.map((c) => (c.kind === 'object' ? { cause: 'object', seen: null } : null)) };`,
      },
      { file: 'store/enqueue-deletes.ts', find: 'all.map(movingRev)', replace: 'all.map(queueOnly)' },
    ],
  },
  {
    name: 'a put commits without its intent, and cleanup deletes without looking at the record',
    edits: [
      { file: 'client/put.ts', find: "completes: [{ item, expect: { state: 'intent' } }],", replace: '' },
      {
        file: 'workers/cleanup-queue.ts',
        find: 'if (namesBytes(entry, item.backend, item.storageKey))',
        replace: 'if (namesBytes(entry, item.backend, item.storageKey) && false)',
      },
    ],
  },
  {
    name: 'quarantined bytes are taken back on any claim',
    edits: [{ file: 'workers/cleanup-queue.ts', find: 'if (!isFirst ||', replace: 'if (' }],
  },
  {
    name: 'the reaper promotes over newer writes',
    edits: [
      {
        file: 'workers/pending-reaper.ts',
        find: 'if (entry?.generation !== item.intent?.replaces)',
        replace: 'if (false as boolean)',
      },
    ],
  },
  {
    name: 'a copy is quarantined without another that verifies',
    edits: [
      {
        file: 'transfer/quarantine.ts',
        find: "if (proof === 'none') return markDamaged(deps, object, name, evidence);",
        replace: '',
      },
    ],
  },
  {
    name: 'a suspicion is enough to quarantine a copy',
    edits: [
      {
        file: 'transfer/quarantine.ts',
        find: "if (evidence !== 'missing' && evidence !== 'wrong') return evidence;",
        replace: '',
      },
    ],
  },
  {
    name: 'replaced bytes are not queued',
    edits: [
      {
        file: 'store/swap.ts',
        find: 'if (kept[backend] === copyId) continue;',
        replace: "if (kept[backend] === copyId || swap.orphans?.reason === 'replaced') continue;",
      },
    ],
  },
  {
    name: 'a put commits without its intent',
    edits: [{ file: 'client/put.ts', find: "completes: [{ item, expect: { state: 'intent' } }],", replace: '' }],
  },
  {
    name: 'a put that lost is taken for done',
    edits: [
      {
        file: 'client/put.ts',
        find: 'if (outcome.seen?.generation === work.generation) return',
        replace: 'if (outcome.seen !== null) return',
      },
    ],
  },
  {
    name: 'reads are not verified',
    edits: [
      {
        file: 'client/get.ts',
        find: 'collect(verifying(found.body, object, what, keep, md5))',
        replace: 'collect(md5 === undefined ? found.body : verifying(found.body, object, what, keep, md5))',
      },
    ],
  },
  {
    name: 'the cleaner does not look at what remains',
    edits: [
      {
        file: 'workers/over-replication-cleaner.ts',
        find: 'if (refusal !== null) return end(attempt, refusal.verdict, refusal.reason);',
        replace: '',
      },
    ],
  },
  {
    name: 'claims are not conditional',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: "const expect = { state: 'cleanup', dueAt: before.dueAt } as const;",
        replace: "const expect = { state: 'cleanup' } as const;",
      },
    ],
  },
  {
    name: 'transfers are not verified',
    edits: [
      {
        file: 'transfer/put-verified.ts',
        find: 'if (stored.sha256 === sent.sha256)',
        replace: 'if (stored.sizeBytes >= 0)',
      },
    ],
  },
  {
    name: 'bytes that could not be recorded are not enqueued for deletion',
    edits: [
      {
        file: 'steps/enqueue-orphans.ts',
        find: 'const outcomes = await enqueueDeletes(tick.commitDeps(), all, tick.deadline.commitUntil);',
        replace: 'const outcomes = all.map(() => "undecided");',
      },
    ],
  },
  {
    name: 'what was stored in parts is not read back',
    edits: [
      {
        file: 'transfer/big/big-copy.ts',
        find: 'if (job.progress.isUnproven) {',
        replace: 'if (job.progress.isUnproven && false) {',
      },
    ],
  },
  {
    name: 'unfinished uploads are left',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: 'if (mayHaveParts) await',
        replace: 'if (mayHaveParts && false) await',
      },
    ],
  },
  {
    name: 'a draining backend counts',
    edits: [
      {
        file: 'store/fleet-view.ts',
        find: 'isCounted: config !== undefined && !isDraining && !isLeaving &&',
        replace: 'isCounted: config !== undefined && !isLeaving &&',
      },
    ],
  },
  {
    name: 'the reaper promotes what it has not read',
    edits: [
      {
        file: 'workers/pending-reaper.ts',
        find: 'if (after.sha256 === undefined) return decision;',
        replace: 'return decision;',
      },
    ],
  },
  {
    name: 'a tick returns while reads are in flight',
    edits: [{ file: 'tick/due-items.ts', find: 'await allEnded(', replace: 'await Promise.all(' }],
  },
  {
    name: 'the scrubber asks for copies that have left the record',
    edits: [
      {
        file: 'workers/scrubber/scrub-object.ts',
        find: 'if (current.copies[backend] !== copyId) {',
        replace: 'if (current.copies[backend] !== copyId && false) {',
      },
    ],
  },
  {
    name: 'an idle tick takes the lease',
    edits: [
      {
        file: 'tick/run-tick.ts',
        find: "if (!(await worker.hasWork(tick))) return 'empty';",
        replace: 'await worker.hasWork(tick);',
      },
    ],
  },
];
