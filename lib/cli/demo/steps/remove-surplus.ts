import type { Step } from '../stage.ts';
import { copies } from '../work.ts';

/** The over-replication-cleaner takes the surplus out of the records; the cleanup queue deletes the bytes. */
export const removeSurplus: Step = {
  name: 'surplus',
  async run(stage) {
    const { work } = stage.arranged;
    const removed = () => work.acts('over-replication-cleaner', 'Copy removed');
    const deleted = () => work.acts('cleanup-queue', 'Queue item settled', 'deleted');
    const named = (await stage.summary()).overReplicated;
    const before = { removed: removed(), deleted: deleted() };
    await stage.until('no surplus', async () => {
      await stage.tick('over-replication-cleaner');
      return (await stage.summary()).overReplicated === 0;
    });
    await stage.emptyQueue();
    const left = removed() - before.removed;
    if (left !== named) throw new Error(`${left} copies were removed for ${named} objects`);
    return `exactly one copy of each left its record; ${copies(deleted() - before.deleted)} deleted by the cleanup queue`;
  },
};
