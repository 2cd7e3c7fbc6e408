import { defined } from '../base/defined.ts';
import { deleteGraceMs, deletionDueAt } from '../config/delete-grace.ts';
import type { Entry } from '../store/model.ts';
import { newTombstone } from '../store/records.ts';
import { deletedIsKeptMs } from '../store/recovery.ts';
import { copiesOf } from '../store/swap.ts';
import { type ClientContext, checkKey } from './context.ts';
import { HoldfastError } from './error.ts';
import { readEntry } from './read-entry.ts';

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
        change: {
          before,
          after: newTombstone(
            { key, generation, deletedAt: now, ...defined({ plainEtags: before?.plainEtags }) },
            Math.max(deleteGraceMs(fleet.file, key), deletedIsKeptMs(fleet.view)),
          ),
        },
        orphans: {
          cause: 'deleted',
          dueAt: deletionDueAt(fleet.file, key, { now, graceMs: fleet.params.graceMs }),
          createdAt: now,
        },
        deletesPlain: importedFiles(before),
      },
      deadline,
    );
    if (outcome.outcome === 'committed') return before?.kind === 'object';
    if (outcome.outcome !== 'lost') {
      throw new HoldfastError('undecided', `Cannot say whether "${key}" was deleted: DynamoDB did not answer in time`);
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
