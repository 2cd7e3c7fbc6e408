import { utilisation } from '../../../fleet/routing.ts';
import { apply } from '../../../operations/apply.ts';
import { bytes } from '../../format.ts';
import type { Stage, Step } from '../stage.ts';
import { copies } from '../work.ts';

/** One backend is empty, two are well filled: with quotas in force, the rebalancer evens them out. */
export const rebalance: Step = {
  name: 'rebalancing',
  async run(stage) {
    const { process: holdfastProcess, stack, work, buckets } = stage.arranged;
    const { usedBytes } = await stage.view();
    const quotaBytes = Math.ceil(Math.max(...buckets.map(({ name }) => usedBytes(name))) * 1.25) + 64 * 1024;
    const backends = stack.fleet.backends.map((backend) => ({ ...backend, quotaBytes }));
    await apply(holdfastProcess, { ...stack.fleet, backends });
    const before = await use(stage, quotaBytes);
    await stage.until('an even fleet', async () => (await stage.tick('rebalancer')).outcome === 'empty');
    await stage.emptyQueue();
    const after = await use(stage, quotaBytes);
    const moved = work.acts('rebalancer', 'Copy moved');
    if (after.range > before.range) throw new Error(`${before.text} became ${after.text}`);
    await apply(holdfastProcess, stack.fleet);
    return `with quotas of ${bytes(quotaBytes)} in use by ${before.text}; ${copies(moved)} moved: ${after.text}`;
  },
};

async function use(stage: Stage, limitBytes: number): Promise<{ text: string; range: number }> {
  const { usedBytes } = await stage.view();
  const names = stage.arranged.buckets.map(({ name }) => name);
  const ratios = names.map((name) => utilisation({ usedBytes: usedBytes(name), limitBytes }));
  const text = ratios.map((ratio) => `${Math.round(ratio * 100)} %`).join(' / ');
  return { text, range: Math.max(...ratios) - Math.min(...ratios) };
}
