import { furtherMutations } from './mutations-further.ts';
import { readersMutations } from './mutations-of-a-reader.ts';
import { foundMutations } from './mutations-of-defects.ts';
import { externalClientsMutations } from './mutations-of-external-clients.ts';
import { turnsMutations } from './mutations-of-turns.ts';

/** One piece of the code under test, replaced as it is loaded. */
export interface Edit {
  /** Below `lib/`. */
  readonly file: string;
  /** Occurs once. */
  readonly find: string;
  readonly replace: string;
}

/** A defect made by hand: a rule of the design left out. Two edits where the first rule has another behind it. */
export interface Mutation {
  readonly name: string;
  readonly edits: readonly Edit[];
}

const rulesLeftOut: readonly Mutation[] = [
  {
    name: 'record before bytes',
    edits: [
      {
        file: 'client/put.ts',
        find: 'const failure = await upload(work, fleet, item);',
        replace: 'upload(work, fleet, item).catch(() => {}); const failure = null as string | null;',
      },
    ],
  },
  {
    name: 'no rev condition',
    edits: [
      {
        file: 'testing/store/memory-tables.ts',
        find: "meets(seen, change.expect, ['generation', 'rev'])",
        replace: "meets(seen, change.expect, ['generation'])",
      },
    ],
  },
  {
    name: 'sweep without moving rev',
    edits: [{ file: 'store/enqueue-deletes.ts', find: 'all.map(movingRev)', replace: 'all.map(queueOnly)' }],
  },
  {
    name: 'orphan queued in a second transaction',
    edits: [
      {
        file: 'store/commit.ts',
        find: '  const outcomes: Outcome[] = new Array(swaps.length);\n',
        replace: `  if (swaps.some((s) => s.orphans !== undefined && !s.isLater)) {
    const lost = swaps.map(orphansOf);
    const first = await commit(deps, swaps.map((s) => ({ ...s, isLater: true })), deadline);
    const later = swaps.map((s, i) => ({ key: s.key, enqueuesDeletes: first[i].outcome === 'committed' ? lost[i] : [] }));
    await commit(deps, later.filter((s) => s.enqueuesDeletes.length > 0), deadline);
    return first;
  }
  const outcomes: Outcome[] = new Array(swaps.length);\n`,
      },
      {
        file: 'store/swap.ts',
        find: 'if (swap.change === undefined ||',
        replace: 'if (swap.isLater || swap.change === undefined ||',
      },
    ],
  },
  {
    name: 'delete by object key',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: 'const requests = rest.map(({ storageKey, plainEtag }) => ({',
        replace: 'const requests = rest.map(({ key: storageKey, plainEtag }) => ({',
      },
    ],
  },
  {
    name: 'listing error taken for the end',
    edits: [
      {
        file: 'workers/reconciler/reconciler.ts',
        find: "    return 'stopped';\n  }\n  return page.next;",
        replace: '    return undefined;\n  }\n  return page.next;',
      },
    ],
  },
  {
    name: 'copies on an unhealthy backend counted',
    edits: [{ file: 'store/fleet-view.ts', find: '!isLeaving && !isLongUnhealthy', replace: '!isLeaving' }],
  },
  {
    name: 'no resend of an unknown answer',
    edits: [
      {
        file: 'store/commit.ts',
        find: "if (error.kind === 'unanswered') isUnanswered = true;",
        replace: "if (error.kind === 'unanswered') return { outcome: 'not-now' };",
      },
    ],
  },
  {
    name: 'grace zero',
    edits: [
      { file: 'config/parameters.ts', find: "graceMs: ms('CLEANUP_QUEUE_GRACE_SECONDS')", replace: 'graceMs: 0' },
    ],
  },
  {
    name: 'lease without epoch',
    edits: [
      {
        file: 'testing/store/memory-store.ts',
        find: 'if (before?.epoch !== lease.epoch || before.holder !== lease.holder) return false;',
        replace: 'if (before === undefined) return false;',
      },
    ],
  },
  {
    name: 'import while a delete is queued',
    edits: [
      // Before it stands what the record remembers of the file.
      {
        file: 'workers/reconciler/import-file.ts',
        find: "if (entry?.plainEtags?.[backend.name] === stored.etag) return found(pass, 'skipped', 'left-behind', key);",
        replace: '',
      },
      {
        file: 'workers/reconciler/import-file.ts',
        find: "if ((await tick.deps.store.queueItems([id])).has(id)) return found(pass, 'skipped', 'queued', key);",
        replace: '',
      },
    ],
  },
  {
    name: 'ledger outside the transaction',
    edits: [
      {
        file: 'store/commit.ts',
        find: 'const answer = await deps.store.transact(changes, token);',
        replace: `const answer = await deps.store.transact(changes.filter((c) => c.kind !== 'add'), token);
      const adds = changes.filter((c) => c.kind === 'add');
      if (answer.outcome === 'done' && adds.length > 0) await deps.store.transact(adds, token + 'L');`,
      },
    ],
  },
  {
    name: 'last copy quarantined',
    edits: [
      {
        file: 'transfer/quarantine.ts',
        find: "if (others.length === 0) return 'none';",
        replace: "if (others.length === 0) return 'found';",
      },
    ],
  },
  {
    name: 'quarantine on one bad read',
    edits: [{ file: 'transfer/quarantine.ts', find: 'read < 2', replace: 'read < 0' }],
  },
  {
    name: 'half-open admits two probes',
    edits: [{ file: 'tick/health.ts', find: "if (answer.outcome !== 'done') return false;", replace: '' }],
  },
  {
    name: 'usage on the wrong leg',
    edits: [
      {
        file: 'fleet/meter.ts',
        find: '(egressBytes) => add(name, { egressBytes })',
        replace: '(egressBytes) => add(name, { ingressBytes: egressBytes })',
      },
    ],
  },
  {
    name: 'cursor not rotated',
    edits: [{ file: 'workers/replicator.ts', find: 'if (!tick.dryRun) tick.cursor = found.cursor;', replace: '' }],
  },
  {
    name: 'reaper promotes over a delete',
    edits: [
      {
        file: 'workers/pending-reaper.ts',
        find: 'if (entry?.generation !== item.intent?.replaces)',
        replace: "if (entry?.kind === 'object' && entry.generation !== item.intent?.replaces)",
      },
    ],
  },
  {
    name: 'reaper ignores size',
    edits: [
      {
        file: 'workers/pending-reaper.ts',
        find: 'if (found.sizeBytes !== item.sizeBytes)',
        replace: 'if (found.sizeBytes < 0)',
      },
      // Behind it stands the reading of every byte, which would show it too.
      {
        file: 'workers/pending-reaper.ts',
        find: 'if (after.sha256 === undefined) return decision;',
        replace: 'return decision;',
      },
    ],
  },
  {
    name: 'cleanup without the record check',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: 'if (namesBytes(entry, item.backend, item.storageKey)) await',
        replace: 'if (namesBytes(entry, item.backend, item.storageKey) && false) await',
      },
    ],
  },
  {
    name: 'plain key deleted',
    edits: [
      {
        file: 'store/swap.ts',
        find: `if (copyId === '' && !(swap.deletesPlain?.includes(backend) && before.plainEtags?.[backend] !== undefined))
      continue;`,
        replace: '',
      },
    ],
  },
  {
    name: 'drain completes on one read',
    edits: [
      {
        file: 'operations/naming.ts',
        find: 'return [first, await readFleet(deps.store, deps.clock.now())];',
        replace: 'return [first, first];',
      },
      {
        file: 'operations/drain.ts',
        find: 'if (view.readAt < settledAt) return',
        replace: 'if (view.readAt < since) return',
      },
    ],
  },
  {
    name: 'cleaner counts unreachable survivors',
    edits: [
      {
        file: 'workers/over-replication-cleaner.ts',
        find: 'isSafe: isCounted && isReachable',
        replace: 'isSafe: true',
      },
    ],
  },
  {
    name: 'sweep without min age',
    edits: [
      {
        file: 'workers/reconciler/reconciler.ts',
        find: 'else if (tick.now() - listed.lastModified >= tick.params.reconcilerMinAgeMs)',
        replace: 'else',
      },
    ],
  },
  {
    name: 'delete without a tombstone over nothing',
    edits: [
      {
        file: 'client/remove.ts',
        find: '  for (;;) {\n    const now = clock.now();',
        replace: '  if (before === null) return false;\n  for (;;) {\n    const now = clock.now();',
      },
    ],
  },
  {
    name: 'a copy by the storage is recorded whatever it attests',
    edits: [
      {
        file: 'transfer/copy-within.ts',
        find: 'if (sha256 !== undefined && sha256 === object.sha256)',
        replace: 'if (sha256 !== undefined)',
      },
    ],
  },
  {
    name: 'a copy by the storage that is not as recorded is left lying',
    edits: [
      {
        file: 'steps/make-copy.ts',
        find: "if (attempt.outcome.outcome === 'unattested')",
        replace: 'if (false as boolean)',
      },
    ],
  },
];

/** Defects that the simulation must find. */
export const mutations: readonly Mutation[] = [
  ...rulesLeftOut,
  ...readersMutations,
  ...turnsMutations,
  ...furtherMutations,
  ...externalClientsMutations,
  ...foundMutations,
];
