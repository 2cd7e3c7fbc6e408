import type { Step } from '../stage.ts';
import { copies } from '../work.ts';

/** Unhealthy for longer than UNHEALTHY_AFTER_SECONDS: the copies there no longer count and are made anew elsewhere. */
export const replaceCopies: Step = {
  name: 'replacement',
  async run(stage) {
    const dark = stage.dark!;
    const { work } = stage.arranged;
    const { requests } = stage.backend(dark).server;
    const transfers = () => requests.count({ operation: 'PutObject' }) + requests.count({ operation: 'GetObject' });
    const before = { made: work.acts('replicator', 'Copy recorded'), transfers: transfers() };
    await stage.until(`${dark} no longer counts`, async () => !(await stage.standing(dark)).isCounted);
    await stage.replicate();
    const made = work.acts('replicator', 'Copy recorded') - before.made;
    if (made === 0) throw new Error('no copy was made');
    if (transfers() !== before.transfers) throw new Error(`${dark} was read or written while it was dark`);
    return `${copies(made)} made elsewhere; ${dark} was neither source nor target`;
  },
};
