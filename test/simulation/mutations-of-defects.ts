import type { Mutation } from './mutations.ts';

/** Defects that Holdfast once had, put back. */
export const foundMutations: readonly Mutation[] = [
  {
    name: 'a commit looks at the clock before it pauses, and not after',
    edits: [
      {
        file: 'store/commit.ts',
        find: '    // Looked at after the pause: a process may freeze in it.\n    const now = deps.clock.now();\n',
        replace: '',
      },
      {
        file: 'store/commit.ts',
        find: '  for (let resend = attempt; ; resend += 1) {\n',
        replace: '  for (let resend = attempt; ; resend += 1) {\n    const now = deps.clock.now();\n',
      },
    ],
  },
  {
    name: 'those who have time are given up with those who have not',
    edits: [{ file: 'store/committer.ts', find: ' && Math.abs(one.deadline - first) <= slackMs', replace: '' }],
  },
  {
    name: 'what was begun on a backend goes on, although it is known to be unreachable',
    edits: [
      {
        file: 'tick/run-tick.ts',
        find: "mayAsk: () => tick.standing(name).breaker === 'closed' || tick.probes.has(name),",
        replace: 'mayAsk: () => true,',
      },
    ],
  },
  {
    name: 'a bucket that was taken over is cleaned up before it is recovered',
    edits: [
      {
        file: 'tick/due-items.ts',
        find: "if (state === 'cleanup' && onlyReports(tick, name)) continue;",
        replace: '',
      },
    ],
  },
  {
    name: 'recovery leaves what the restored queue takes for a write under way',
    edits: [
      {
        file: 'workers/reconciler/unnamed.ts',
        find: 'if (queued !== undefined && !mayBeRecorded(pass, queued))',
        replace: 'if (queued !== undefined)',
      },
    ],
  },
  {
    name: 'recovery keeps a recorded copy that is not there',
    edits: [
      {
        file: 'workers/reconciler/recover-copy.ts',
        find: ' && (await backend.head(storageKey(it.key, recordedId), tick.signal)) !== null',
        replace: '',
      },
    ],
  },
  {
    name: 'bytes that were queued, and are no more by the next attempt, end a swap',
    edits: [
      {
        file: 'store/commit.ts',
        find: 'if (seen === null) owner.known.delete(change.put.id);',
        replace: 'if (seen === null) return false;',
      },
    ],
  },
  {
    name: 'an answer closes a breaker that was opened after it',
    edits: [
      {
        file: 'fleet/breaker.ts',
        find: ' && seen.succeededAt > (before.openedAt ?? Number.NEGATIVE_INFINITY)',
        replace: '',
      },
    ],
  },
];
