import { forEachConcurrently } from '../../../base/pool.ts';
import { plural } from '../../format.ts';
import { putFile } from '../load.ts';
import type { Step } from '../stage.ts';

const puts = 10;

/** The replicator's health check opens the breaker; from then on nobody waits for the dark backend. */
export const openBreaker: Step = {
  name: 'breaker',
  async run(stage) {
    const dark = stage.dark!;
    let ticks = 0;
    await stage.until('an open breaker', async () => {
      await stage.tick('replicator');
      ticks += 1;
      return (await stage.standing(dark)).breaker === 'open';
    });
    const again = stage.files.slice(0, puts);
    await stage.withClient((holdfast) =>
      forEachConcurrently(again, puts, async ({ key, path }) => {
        const { at } = await putFile(holdfast, key, path, () => stage.arranged.process.clock.now());
        stage.putAt.set(key, at);
      }),
    );
    const keys = new Set(again.map(({ key }) => key));
    const misplaced = (await stage.objects()).filter(({ key, copies }) => keys.has(key) && dark in copies);
    if (misplaced.length > 0) throw new Error(`"${misplaced[0]!.key}" was put on ${dark}`);
    return `opened after ${plural(ticks, 'health check')}; ${plural(again.length, 'file')} put meanwhile went to the other backends`;
  },
};
