import type { WorkerName } from '../../lib/config/parameters.ts';
import { createProcess } from '../../lib/process/process.ts';
import type { Store } from '../../lib/store/port.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import type { Work } from './measured.ts';

/** A tick of a worker, whose calls of the store are counted. */
export function tickOf(worker: string): Work {
  const holdfastProcess = createProcess({ env: process.env });
  const storeCalls: Record<string, number> = {};
  let writeUnits = 0;
  const store = new Proxy(holdfastProcess.store, {
    get(target, name, receiver) {
      const method = Reflect.get(target, name, receiver) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        storeCalls[String(name)] = (storeCalls[String(name)] ?? 0) + 1;
        const answer = await method.apply(target, args);
        // A cycle begins: the last one would wait for a month.
        if (name === 'acquireLease' && worker === 'scrubber') return { ...(answer as object), cursor: undefined };
        if (name === 'transact') writeUnits += (answer as { writeUnits?: number }).writeUnits ?? 0;
        return answer;
      };
    },
  }) as Store;
  return async () => {
    const report = await runTick({ ...holdfastProcess, store }, workers[worker as WorkerName]!, {
      deadline: Date.now() + 900_000,
    });
    if (report.failed > 0 || report.outcome === 'error') throw new Error(JSON.stringify(report));
    return { copied: Math.max(1, report.succeeded), writeUnits, storeCalls };
  };
}
