import type { Mutation } from './mutations.ts';

/** Leases, probes, quotas and limits, and whose turn it is. */
export const turnsMutations: readonly Mutation[] = [
  {
    name: 'a lease is taken while another holds it',
    edits: [
      {
        file: 'store/memory/memory-store.ts',
        find: 'if (before && before.expiresAt > now && before.holder !== holder) return null;',
        replace: '',
      },
    ],
  },
  {
    name: 'a lease is written under an older epoch',
    edits: [
      {
        file: 'store/memory/memory-store.ts',
        find: 'if (before?.epoch !== lease.epoch || before.holder !== lease.holder) return false;',
        replace: '',
      },
    ],
  },
  {
    name: 'a lease ends before its tick',
    edits: [
      {
        file: 'workers/tick.ts',
        find: 'const expiresAt = tick.deadline.at + 5_000;',
        replace: 'const expiresAt = tick.now() + 5_000;',
      },
    ],
  },
  {
    name: 'a probe that is out keeps no other back',
    edits: [
      {
        file: 'fleet/breaker.ts',
        find: "breakerPosition(state, now) === 'open' &&",
        replace: "breakerPosition(state, now) !== 'closed' &&",
      },
    ],
  },
  {
    name: 'a probe is sent whether it was claimed or not',
    edits: [{ file: 'workers/health.ts', find: "return answer.outcome === 'done';", replace: 'return true;' }],
  },
  {
    name: 'a probe is sent without delay',
    edits: [
      {
        file: 'fleet/breaker.ts',
        find: 'probeAfter: now + Math.round(rules.openMs * (1 + random / 4)),',
        replace: 'probeAfter: now,',
      },
    ],
  },
  {
    name: 'a half-open breaker lets everyone through',
    edits: [
      {
        file: 'workers/health.ts',
        find: "if (breaker === 'closed') return true;",
        replace: "if (breaker !== 'open') return true;",
      },
    ],
  },
  {
    name: 'new bytes are charged without the condition of the quota',
    edits: [{ file: 'store/ledger.ts', find: 'needed > 0 ? { atMostBytes: quota - needed } : {}', replace: '{}' }],
  },
];
