import type { Mutation } from './mutations.ts';

/** Written from the design by someone who had read neither the tests nor the simulator. */
export const readersMutations: readonly Mutation[] = [
  {
    name: 'a put whose intent was taken from it counts as done whenever the key has an entry',
    edits: [
      {
        file: 'client/put.ts',
        find: '    if (now?.generation !== seen?.generation) return;',
        replace: '    if (now !== null) return;',
      },
    ],
  },
  {
    name: 'a copy that a new one on the same backend replaces is not queued for deletion',
    edits: [
      {
        file: 'store/swap.ts',
        find: 'if (kept[backend] === copyId) continue;',
        replace: 'if (kept[backend] !== undefined) continue;',
      },
    ],
  },
  {
    name: 'the clean-up of an abandoned put leaves its unfinished upload open',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: 'const mayHaveParts = transfer !== undefined || (intent !== undefined && sizeBytes > wholeBytes);',
        replace: 'const mayHaveParts = transfer !== undefined;',
      },
    ],
  },
  {
    name: 'a tombstone that remembers a plain file expires like any other',
    edits: [
      {
        file: 'client/remove.ts',
        find: '...(remembers ? { plainEtags } : { ttl: Math.ceil((now + tombstoneMs) / 1000) }),',
        replace: '...(remembers && { plainEtags }), ttl: Math.ceil((now + tombstoneMs) / 1000),',
      },
    ],
  },
  {
    name: 'every failed probe of an unreachable backend starts its time of being unhealthy anew',
    edits: [
      {
        file: 'fleet/breaker.ts',
        find: 'unhealthySince: (hadSuccess ? undefined : before.unhealthySince) ?? now,',
        replace: 'unhealthySince: now,',
      },
    ],
  },
];
