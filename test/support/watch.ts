import type { Change } from '../../lib/store/port.ts';
import type { TestFleet } from './fleet.ts';

/** What was written while it watched: objects, the queue, and anything that changes a backend. */
export interface Watch {
  readonly writes: string[];
  /** Copies made: puts of bytes, owner objects aside. */
  copiesMade(): number;
  stop(): void;
}

const changing = new Set(['put', 'delete', 'createUpload', 'uploadPart', 'completeUpload', 'abortUpload']);

/** Notes every write to the objects or the queue and every change on a backend. */
export function watchWrites(fleet: TestFleet): Watch {
  const writes: string[] = [];
  let copies = 0;
  const outer = fleet.before;
  fleet.before = async (call) => {
    const { port, method, args } = call;
    if (port !== 'store' && changing.has(method)) writes.push(`${port}.${method}`);
    if (port !== 'store' && method === 'put') copies += 1;
    if (port === 'store' && (method === 'transact' || method === 'write')) {
      for (const { kind } of [args[0]].flat() as Change[]) {
        if (kind === 'object' || kind.startsWith('queue')) writes.push(`store.${kind}`);
      }
    }
    return outer?.(call);
  };
  return {
    writes,
    copiesMade: () => copies,
    stop: () => {
      fleet.before = outer;
    },
  };
}

/** Lets a step of a test happen once, just before the first call of a port that fits. */
export function justBefore(
  fleet: TestFleet,
  fits: (port: string, method: string, changes: readonly Change[]) => boolean,
  step: () => Promise<unknown>,
): void {
  fleet.before = async ({ port, method, args }) => {
    const changes = method === 'transact' ? (args[0] as Change[]) : [];
    if (!fits(port, method, changes)) return;
    fleet.before = undefined;
    await step();
  };
}
