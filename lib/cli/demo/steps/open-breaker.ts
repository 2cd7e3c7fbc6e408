import { forEachConcurrently } from '../../../base/pool.ts';
import { plural } from '../../format.ts';
import type { SourceFile } from '../files.ts';
import { putFile } from '../load.ts';
import type { Stage, Step } from '../stage.ts';

const overwrites = 10;

/** The replicator's health check opens the breaker; from then on nobody waits for the unreachable backend. */
export const openBreaker: Step = {
  name: 'breaker',
  async run(stage) {
    const unreachable = stage.unreachable!;
    let ticks = 0;
    await stage.until('an open breaker', async () => {
      await stage.tick('replicator');
      ticks += 1;
      return (await stage.standing(unreachable)).breaker === 'open';
    });
    const fresh = stage.makeFile('put during the outage.txt', Buffer.from('Put while a backend was unreachable.\n'));
    stage.files.push(fresh);
    const again = [...(await someOn(stage, unreachable)), fresh];
    await stage.withClient((holdfast) =>
      forEachConcurrently(again, overwrites, async ({ key, path }) => {
        const { at } = await putFile(holdfast, key, path, () => stage.arranged.process.clock.now());
        stage.putAt.set(key, at);
      }),
    );
    const keys = new Set(again.map(({ key }) => key));
    const misplaced = (await stage.objects()).filter(({ key, copies }) => keys.has(key) && unreachable in copies);
    if (misplaced.length > 0) throw new Error(`"${misplaced[0]!.key}" was put on ${unreachable}`);
    return `opened after ${plural(ticks, 'health check')}; ${plural(again.length, 'put')} meanwhile went to the other backends`;
  },
};

/** Up to half of the files with a copy on a backend: the others keep theirs. */
async function someOn(stage: Stage, backend: string): Promise<SourceFile[]> {
  const held = new Set((await stage.objects()).filter(({ copies }) => backend in copies).map(({ key }) => key));
  const files = stage.files.filter(({ key }) => held.has(key));
  return files.slice(0, Math.min(overwrites, Math.floor(files.length / 2)));
}
