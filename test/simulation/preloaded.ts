/** Loaded on first use by the code under test: from the disk, which is no part of a history. */
await import('../../lib/steps/check-writes.ts');
await import('../../lib/steps/note-refusals.ts');
await import('../../lib/steps/transfers/carry-on.ts');
await import('../../lib/transfer/big/big-copy.ts');
await import('../../lib/transfer/copy-within.ts');
await import('../../lib/steps/plain-change.ts');
await import('../../lib/steps/transfers/prove-first-hash.ts');
await import('../../lib/transfer/put-parts.ts');
await import('../../lib/transfer/quarantine.ts');
await import('../../lib/transfer/reading/copy-reader.ts');
await import('../../lib/transfer/verified-copy.ts');
await import('../../lib/workers/scrubber/read-with-plaintext.ts');
await import('../../lib/workers/scrubber/scrub-owed.ts');
await import('../../lib/workers/rebalancer/moves.ts');
await import('../../lib/workers/replicator/rounds.ts');
await import('hash-wasm');

export {};
