import type { Step } from '../stage.ts';
import { copies } from '../work.ts';

/** Unhealthy for longer than UNHEALTHY_AFTER_SECONDS: the copies there no longer count and are made anew elsewhere. */
export const replaceCopies: Step = {
  name: 'replacement',
  async run(stage) {
    const unreachable = stage.unreachable!;
    const { work } = stage.arranged;
    const { requests } = stage.backend(unreachable).server;
    const transfers = () => requests.count({ operation: 'PutObject' }) + requests.count({ operation: 'GetObject' });
    const before = { recorded: work.acts('replicator', 'Copy recorded'), transfers: transfers() };
    await stage.until(`${unreachable} no longer counts`, async () => !(await stage.standing(unreachable)).isCounted);
    await stage.replicate();
    const recorded = work.acts('replicator', 'Copy recorded') - before.recorded;
    if (recorded === 0) throw new Error('no copy was made');
    if (transfers() !== before.transfers)
      throw new Error(`${unreachable} was read or written while it was unreachable`);
    return `${copies(recorded)} made elsewhere; ${unreachable} was neither source nor target`;
  },
};
