import { createClient } from '../../lib/client/client.ts';
import type { HoldfastProcess } from '../../lib/process/process.ts';
import { commit } from '../../lib/store/commit.ts';
import type { Store } from '../../lib/store/port.ts';
import { runTick, type TickReport } from '../../lib/workers/tick.ts';
import { workers } from '../../lib/workers/workers.ts';

/** Records at their factor, whose bytes nobody has: idle ticks and new objects must not mind how many there are. */
export async function measureGrowth(
  wired: HoldfastProcess,
  totals: readonly number[],
  say: (line: string) => void,
): Promise<void> {
  const probe = watched(wired.store);
  const deps = { ...wired, store: probe.store };
  let there = 0;
  for (const total of totals) {
    await fill(wired, there, total);
    there = total;
    const tick = (): Promise<TickReport> => runTick(deps, workers.replicator!, { deadline: Date.now() + 600_000 });
    await tick();
    probe.reset();
    const idle: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const startedAt = performance.now();
      const report = await tick();
      if (report.outcome !== 'empty') throw new Error(JSON.stringify(report));
      idle.push(performance.now() - startedAt);
    }
    const idleCalls = probe.told(5);
    const client = createClient(wired);
    for (let i = 0; i < 50; i += 1) await client.put(`grow/${total}/${i}`, new Uint8Array(100));
    await client.close();
    probe.reset();
    const startedAt = performance.now();
    const report = await tick();
    const ms = performance.now() - startedAt;
    say(
      `${total} objects: an idle tick ${idle.sort((a, b) => a - b)[2]!.toFixed(1)} ms and ${idleCalls}; ` +
        `${report.succeeded} new copies ${ms.toFixed(0)} ms, ${(probe.units() / report.succeeded).toFixed(2)} write units each, ${probe.told(1)}`,
    );
  }
}

async function fill(wired: HoldfastProcess, from: number, to: number): Promise<void> {
  const deps = { ...wired, quotaOf: () => 0, stripes: 8 };
  for (let at = from; at < to; at += 60) {
    const swaps = Array.from({ length: Math.min(60, to - at) }, (_, i) => {
      const key = `fill/${at + i}`;
      const generation = wired.ids.ulid();
      const copies = { 'local-1': generation, 'local-2': generation };
      const fixed = { kind: 'object', key, generation, rev: 0, sizeBytes: 0, createdAt: 0 } as const;
      const after = { ...fixed, sha256: '', copies, policy: 'default', isDamaged: false };
      return { key, change: { before: null, after } };
    });
    const outcomes = await commit(deps, swaps, Date.now() + 60_000);
    if (outcomes.some(({ outcome }) => outcome !== 'committed')) throw new Error('Records could not be written');
  }
}

function watched(store: Store) {
  let calls: Record<string, number> = {};
  let writeUnits = 0;
  return {
    store: new Proxy(store, {
      get(target, name, receiver) {
        const method = Reflect.get(target, name, receiver) as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          calls[String(name)] = (calls[String(name)] ?? 0) + 1;
          const answer = await method.apply(target, args);
          if (name === 'transact') writeUnits += (answer as { writeUnits?: number }).writeUnits ?? 0;
          return answer;
        };
      },
    }) as Store,
    reset() {
      calls = {};
      writeUnits = 0;
    },
    units: () => writeUnits,
    told: (ticks: number) =>
      Object.entries(calls)
        .map(([name, n]) => `${n / ticks} × ${name}`)
        .join(', '),
  };
}
