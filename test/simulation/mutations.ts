/** A defect made by hand: one piece of the code under test, replaced as it is loaded. */
export interface Mutation {
  readonly name: string;
  /** Below `lib/`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Shown only by a coincidence that hundreds of seeds may not hold. */
  readonly isRare?: true;
  /** A second rule left out, where the first has another behind it. */
  readonly also?: Omit<Mutation, 'name' | 'also' | 'isRare'>;
}

/** Defects that the simulation must find, each a rule of the design left out. */
export const mutations: readonly Mutation[] = [
  {
    name: 'a put is recorded before its bytes are there',
    file: 'client/put.ts',
    find: 'const failure = await upload(work, fleet, item);',
    replace: 'upload(work, fleet, item).catch(() => {}); const failure = null as string | null;',
  },
  {
    name: 'records are swapped without comparing rev',
    file: 'store/memory/memory-tables.ts',
    find: "meets(seen, change.expect, ['generation', 'rev'])",
    replace: "meets(seen, change.expect, ['generation'])",
  },
  {
    name: 'the ledger is written in a transaction of its own',
    file: 'store/commit.ts',
    find: 'const answer = await deps.store.transact(changes, token);',
    replace: `const answer = await deps.store.transact(changes.filter((c) => c.kind !== 'add'), token);
      const adds = changes.filter((c) => c.kind === 'add');
      if (answer.outcome === 'done' && adds.length > 0) await deps.store.transact(adds, token + 'L');`,
  },
  {
    name: 'no grace for readers',
    file: 'config/parameters.ts',
    find: "graceMs: ms('CLEANUP_QUEUE_GRACE_SECONDS')",
    replace: 'graceMs: 0',
  },
  {
    name: 'any refusal is a no while a send is unanswered, and condemning does not move rev',
    file: 'store/commit.ts',
    find: 'if (!isUnanswered) return isConflictOnly',
    replace: 'if (!isConflictOnly || !isUnanswered) return isConflictOnly',
    also: { file: 'store/condemn.ts', find: 'all.map(movingRev)', replace: 'all.map(queueOnly)' },
    isRare: true,
  },
  {
    name: 'an unknown answer is taken for a lost swap, and condemning does not move rev',
    file: 'store/commit.ts',
    find: "if (error.kind === 'unanswered') isUnanswered = true;",
    replace: `if (error.kind === 'unanswered')
        return { outcome: 'refused', refusals: changes.map((c) => (c.kind === 'object' ? { cause: 'object', seen: null } : null)) };`,
    also: { file: 'store/condemn.ts', find: 'all.map(movingRev)', replace: 'all.map(queueOnly)' },
  },
  {
    name: 'a put commits without its intent, and cleanup deletes without looking at the record',
    file: 'client/put.ts',
    find: "ends: [{ item, expect: { state: 'intent' } }],",
    replace: '',
    also: {
      file: 'workers/cleanup-queue.ts',
      find: 'if (namesBytes(entry, item.backend, item.storageKey))',
      replace: 'if (namesBytes(entry, item.backend, item.storageKey) && false)',
    },
  },
  {
    name: 'dismissed bytes are taken back on any claim',
    file: 'workers/cleanup-queue.ts',
    find: 'if (!isFirst ||',
    replace: 'if (',
    isRare: true,
  },
  {
    name: 'the reaper promotes over newer writes',
    file: 'workers/pending-reaper.ts',
    find: 'if (entry?.generation !== item.intent?.replaces)',
    replace: 'if (false as boolean)',
  },
  {
    name: 'a copy is dismissed without another that verifies',
    file: 'transfer/dismiss.ts',
    find: "if (proof === 'none') return markDamaged(deps, object, name, evidence);",
    replace: '',
  },
  {
    name: 'a suspicion is enough to dismiss a copy',
    file: 'transfer/dismiss.ts',
    find: "if (evidence !== 'missing' && evidence !== 'wrong') return evidence;",
    replace: '',
  },
  {
    name: 'replaced bytes are not queued',
    file: 'store/swap.ts',
    find: 'if (kept[backend] === copyId) continue;',
    replace: "if (kept[backend] === copyId || swap.orphans?.reason === 'replaced') continue;",
  },
  {
    name: 'a put commits without its intent',
    file: 'client/put.ts',
    find: "ends: [{ item, expect: { state: 'intent' } }],",
    replace: '',
  },
  {
    name: 'a put that lost is taken for done',
    file: 'client/put.ts',
    find: 'if (outcome.seen?.generation === work.generation) return',
    replace: 'if (outcome.seen !== null) return',
  },
  {
    name: 'reads are not verified',
    file: 'client/get.ts',
    find: 'whole: await collect(verifying(found.body, object, what, () => {}))',
    replace: 'whole: await collect(found.body)',
  },
  {
    name: 'the cleaner counts copies on dark backends',
    file: 'workers/over-replication-cleaner.ts',
    find: 'isSafe: isCounted && isReachable',
    replace: 'isSafe: true',
    isRare: true,
  },
  {
    name: 'the cleaner does not look at what remains',
    file: 'workers/over-replication-cleaner.ts',
    find: 'if (refusal !== null) return end(attempt, refusal.verdict, refusal.reason);',
    replace: '',
  },
  {
    name: 'claims are not conditional',
    file: 'workers/cleanup-queue.ts',
    find: "const expect = { state: 'cleanup', dueAt: before.dueAt } as const;",
    replace: "const expect = { state: 'cleanup' } as const;",
    isRare: true,
  },
  {
    name: 'transfers are not verified',
    file: 'transfer/put-verified.ts',
    find: 'if (stored.sha256 === sent.sha256)',
    replace: 'if (stored.sizeBytes >= 0)',
  },
  {
    name: 'bytes that could not be recorded are not condemned',
    file: 'workers/strays.ts',
    find: 'const outcomes = await condemn(tick.commitDeps(), all, tick.deadline.commitUntil);',
    replace: 'const outcomes = all.map(() => "undecided");',
  },
  {
    name: 'what was stored in parts is not read back',
    file: 'transfer/big/finish.ts',
    find: 'if (job.progress.isUnproven) {',
    replace: 'if (job.progress.isUnproven && false) {',
    isRare: true,
  },
  {
    name: 'unfinished uploads are left',
    file: 'workers/cleanup-queue.ts',
    find: 'if (mayHaveParts) await',
    replace: 'if (mayHaveParts && false) await',
  },
  {
    name: 'a draining backend counts',
    file: 'store/fleet-view.ts',
    find: 'isCounted: config !== undefined && !isDraining &&',
    replace: 'isCounted: config !== undefined &&',
  },
  {
    name: 'the reaper promotes what it has not read',
    file: 'workers/pending-reaper.ts',
    find: 'if (after.sha256 === undefined) return decision;',
    replace: 'return decision;',
  },
  {
    name: 'a tick returns while reads are in flight',
    file: 'workers/due-items.ts',
    find: 'await allEnded(',
    replace: 'await Promise.all(',
  },
  {
    name: 'the scrubber asks for copies that have left the record',
    file: 'workers/scrub-object.ts',
    find: 'if (current.copies[backend] !== copyId) {',
    replace: 'if (current.copies[backend] !== copyId && false) {',
    isRare: true,
  },
  {
    name: 'an idle tick takes the lease',
    file: 'workers/tick.ts',
    find: "if (!(await worker.hasWork(tick))) return 'empty';",
    replace: 'await worker.hasWork(tick);',
  },
];
