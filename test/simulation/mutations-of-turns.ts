import type { Mutation } from './mutations.ts';

/** Leases, probes, quotas and limits, and whose turn it is. */
export const turnsMutations: readonly Mutation[] = [
  {
    name: 'a lease is taken while another holds it',
    edits: [
      {
        file: 'testing/store/memory-store.ts',
        find: 'if (before && before.expiresAt > now && before.holder !== holder) return null;',
        replace: '',
      },
    ],
  },
  {
    name: 'a lease is written under an older epoch',
    edits: [
      {
        file: 'testing/store/memory-store.ts',
        find: 'if (before?.epoch !== lease.epoch || before.holder !== lease.holder) return false;',
        replace: '',
      },
    ],
  },
  {
    name: 'a lease ends before its tick',
    edits: [
      {
        file: 'tick/run-tick.ts',
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
        file: 'tick/health.ts',
        find: "if (breaker === 'closed') return true;",
        replace: "if (breaker !== 'open') return true;",
      },
      {
        file: 'tick/run-tick.ts',
        find: "tick.standing(name).breaker === 'closed' ||",
        replace: "tick.standing(name).breaker !== 'open' ||",
      },
    ],
  },
  {
    name: 'new bytes are charged without the condition of the quota',
    edits: [{ file: 'store/ledger.ts', find: 'needed > 0 ? { atMostBytes: quota - needed } : {}', replace: '{}' }],
  },
  {
    name: 'what a backend sends is charged as what it receives',
    edits: [
      {
        file: 'fleet/meter.ts',
        find: '(egressBytes) => add(name, { egressBytes })',
        replace: '(egressBytes) => add(name, { ingressBytes: egressBytes })',
      },
    ],
  },
  {
    name: 'usage that may be written is written again',
    edits: [
      {
        file: 'store/usage-book.ts',
        find: 'await store.addUsage(page.month, page.usage, page.token);\n      unanswered',
        replace: 'await store.addUsage(page.month, page.usage, ids.ulid());\n      unanswered',
      },
    ],
  },
  {
    name: 'usage that could not be written is forgotten',
    edits: [{ file: 'store/usage-book.ts', find: 'else enter(month, page.usage);', replace: '' }],
  },
  {
    name: 'an idle tick forgets what it spent',
    edits: [
      {
        file: 'tick/report.ts',
        find: 'unreported.enter(tick.meter.take());',
        replace: 'if (tick.lease !== null) unreported.enter(tick.meter.take());',
      },
    ],
  },
  {
    name: 'usage is charged to the month in which it is written',
    edits: [
      {
        file: 'store/usage-book.ts',
        find: 'for (const [month, all] of Object.entries(usage)) enter(month, all);',
        replace: 'for (const all of Object.values(usage)) enter(Object.keys(usage).at(-1)!, all);',
      },
    ],
  },
  {
    name: 'a tick looks only at what was spent before it',
    edits: [
      {
        file: 'tick/budget.ts',
        find: 'return here[field] + coming[field] + wanted >',
        replace: 'return wanted >',
      },
    ],
  },
  {
    name: 'each part plans the whole of a limit',
    edits: [{ file: 'tick/budget.ts', find: '(limit - before[field]) / tick.of;', replace: 'limit - before[field];' }],
  },
  {
    name: 'a tick plays one round, whatever is left',
    edits: [
      { file: 'tick/run-tick.ts', find: "if ((await run()) === 'done') return;", replace: 'await run();\n    return;' },
    ],
  },
  {
    name: 'a tick ends behind the last lane, whatever it holds',
    edits: [{ file: 'tick/due-items.ts', find: '?? circle[i + width] ?? circle[0]', replace: '?? circle[i + width]' }],
  },
  {
    name: 'what a tick cannot copy hides what stands behind it',
    edits: [
      {
        file: 'tick/find-work.ts',
        find: 'circle = [...labels.slice(start), ...labels.slice(0, start)',
        replace: 'circle = [...labels.slice(start)',
      },
    ],
  },
  {
    name: 'an upload in parts that a worker gives up is left open, and its key forgotten',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: 'if (mayHaveParts) await',
        replace: 'if (mayHaveParts && intent !== undefined) await',
      },
    ],
  },
  {
    name: 'the scrubber asks what is left before it waits, and spends after',
    edits: [
      {
        file: 'workers/scrubber/scrub-object.ts',
        find: 'if (tick.standing(backend).config === undefined ||',
        replace: `if (budget.refuses(backend, { requests: 1, egressBytes: object.sizeBytes }) !== null) continue;
    if (tick.standing(backend).config === undefined ||`,
      },
      {
        file: 'workers/scrubber/scrub-object.ts',
        find: 'if (refusal !== null) {',
        replace: 'if (refusal !== null && false) {',
      },
    ],
  },
  {
    name: 'evidence is taken whatever the month allows',
    edits: [
      {
        file: 'steps/examine-copy.ts',
        find: "if (budget.refuses(backend, suspicion) !== null) return 'unreadable';",
        replace: '',
      },
    ],
  },
  {
    name: 'what the replicator has just copied hides what stands behind it',
    edits: [{ file: 'workers/replicator.ts', find: '|| !isNews', replace: '|| unseen.length === 0' }],
  },
  {
    name: 'due transfers beyond a batch wait for the next tick',
    edits: [{ file: 'workers/replicator.ts', find: "|| left === 'more'", replace: '' }],
  },
];
