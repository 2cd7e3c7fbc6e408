import { plural } from '../../format.ts';
import type { Step } from '../stage.ts';

/** The backend answers again: one probe closes the breaker, and the copies there count again. */
export const comeBack: Step = {
  name: 'return',
  async run(stage) {
    const unreachable = stage.unreachable!;
    stage.backend(unreachable).server.faults.clear();
    await stage.until('a closed breaker', async () => {
      await stage.tick('replicator');
      return (await stage.standing(unreachable)).breaker === 'closed';
    });
    const { overReplicated } = await stage.summary();
    if (overReplicated === 0) throw new Error('no surplus was named');
    return `${unreachable} answers, a probe closed its breaker; ${plural(overReplicated, 'object')} named as having a copy too many`;
  },
};
