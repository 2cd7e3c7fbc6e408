/**
 * What the code under test loads on first use, loaded before any history: a file comes from the disk, which is no part of one,
 * and a history must be the same however often it is played in one process. A test checks that none is missing.
 */
await import('../../lib/client/get-range.ts');
await import('../../lib/client/undelete.ts');
await import('../../lib/fleet/ownership-problem.ts');
await import('../../lib/steps/check-writes.ts');
await import('../../lib/steps/note-refusals.ts');
await import('../../lib/steps/plain-change.ts');
await import('../../lib/steps/transfers/carry-on.ts');
await import('../../lib/steps/transfers/prove-first-hash.ts');
await import('../../lib/transfer/big/big-copy.ts');
await import('../../lib/transfer/copy-within.ts');
await import('../../lib/transfer/first-hash.ts');
await import('../../lib/transfer/put-parts.ts');
await import('../../lib/transfer/quarantine.ts');
await import('../../lib/transfer/reading/copy-reader.ts');
await import('../../lib/transfer/settle-start.ts');
await import('../../lib/transfer/verified-copy.ts');
await import('../../lib/workers/cleanup-queue/judge-all.ts');
await import('../../lib/workers/cleanup-queue/judge-restored.ts');
await import('../../lib/workers/rebalancer/moves.ts');
await import('../../lib/workers/reconciler/complete-recovery.ts');
await import('../../lib/workers/reconciler/import-arrivals.ts');
await import('../../lib/workers/reconciler/import-work.ts');
await import('../../lib/workers/reconciler/pass-work.ts');
await import('../../lib/workers/reconciler/pass.ts');
await import('../../lib/workers/reconciler/plan-file.ts');
await import('../../lib/workers/reconciler/recover-work.ts');
await import('../../lib/workers/replicator/rounds.ts');
await import('../../lib/workers/scrubber/read-with-plaintext.ts');
await import('../../lib/workers/scrubber/scrub-owed.ts');
await import('hash-wasm');

export {};
