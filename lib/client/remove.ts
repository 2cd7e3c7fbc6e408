import type { Entry, Tombstone } from '../store/model.ts';
import { copiesOf } from '../store/swap.ts';
import { type ClientContext, checkKey } from './context.ts';
import { HoldfastError } from './error.ts';
import { readEntry } from './put.ts';

const tombstoneMs = 7 * 24 * 3_600_000;

/**
 * Deletes a key: it is gone when this returns, and stays gone whatever puts of before still arrive. A plain file that was
 * imported is deleted too, if it still is the one recorded. Deleting what does not exist succeeds.
 *
 * @returns whether there was an object
 */
export async function remove(context: ClientContext, key: string): Promise<boolean> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  const { clock, ids } = context.deps;
  const generation = ids.ulid();
  const deadline = clock.now() + 60_000;
  let before = await readEntry(context, key);
  for (;;) {
    const now = clock.now();
    const outcome = await context.committer.commit(
      {
        key,
        change: { before, after: tombstone(key, generation, before, now) },
        orphans: { reason: 'deleted', dueAt: now + fleet.params.graceMs, createdAt: now },
        deletesPlain: importedFiles(before),
      },
      deadline,
    );
    if (outcome.outcome === 'committed') return before?.kind === 'object';
    if (outcome.outcome !== 'lost') {
      throw new HoldfastError(
        'undecided',
        `Cannot say whether "${key}" was deleted: the metadata store did not answer in time`,
      );
    }
    if (outcome.seen?.generation === generation) return true;
    before = outcome.seen;
  }
}

/** Backends whose imported file goes with the object: only where its ETag is known, which it must still have then. */
function importedFiles(before: Entry | null): string[] {
  const copies = Object.entries(copiesOf(before));
  return copies.flatMap(([backend, copyId]) =>
    copyId === '' && before?.plainEtags?.[backend] !== undefined ? [backend] : [],
  );
}

/** Without a ttl while a file is remembered: it must not be taken for a new object later. */
function tombstone(key: string, generation: string, before: Entry | null, now: number): Tombstone {
  const plainEtags = before?.plainEtags;
  const remembers = plainEtags !== undefined && Object.keys(plainEtags).length > 0;
  return {
    kind: 'tombstone',
    key,
    generation,
    rev: 0,
    deletedAt: now,
    ...(remembers ? { plainEtags } : { ttl: Math.ceil((now + tombstoneMs) / 1000) }),
  };
}
