/** `holdfast/testing`: a fleet in memory, for tests of one's own. */

import { idsFrom } from './base/ids.ts';
import { silentLog } from './base/log.ts';
import { createClient, type Holdfast } from './client/client.ts';
import { parseFleetFile } from './config/parse-fleet-file.ts';
import { apply } from './operations/apply.ts';
import { createUsageBook } from './store/usage-book.ts';
import { createMemoryBackend, type MemoryBackend } from './testing/backend/memory-backend.ts';
import { createManualClock } from './testing/manual-clock.ts';
import { namedBackend } from './testing/named-backend.ts';
import { seeded } from './testing/seeded.ts';
import { createMemoryStore, type MemoryStore } from './testing/store/memory-store.ts';
import { createWorkers, type Workers } from './workers.ts';

export { createMemoryBackend, createMemoryStore, type MemoryBackend, type MemoryStore };

export interface MemoryFleetOptions {
  /** Names, or backends as a fleet file has them, where the address may be left out [`['a', 'b']`]. */
  readonly backends?: readonly (string | { readonly name: string; readonly [field: string]: unknown })[];
  /** As in a fleet file [one copy on each of two backends]. */
  readonly policies?: Readonly<Record<string, unknown>>;
  /** Tuning parameters. */
  readonly env?: Readonly<Record<string, string>>;
  /** When its clock begins, milliseconds since the epoch [2026-01-01]. */
  readonly now?: number;
}

/** A fleet without servers or time of its own: what is waited for passes when the test says so. */
export interface MemoryFleet {
  readonly holdfast: Holdfast;
  readonly workers: Workers;
  readonly store: MemoryStore;
  readonly backends: Readonly<Record<string, MemoryBackend>>;
  now(): number;
  /** Moves its clock on. */
  advance(ms: number): void;
  /** Runs the workers that settle things until none finds work, a minute of its clock after each round. */
  settle(rounds?: number): Promise<void>;
  close(): Promise<void>;
}

const minuteMs = 60_000;

export async function createMemoryFleet(options: MemoryFleetOptions = {}): Promise<MemoryFleet> {
  const clock = createManualClock(options.now ?? Date.UTC(2026, 0, 1));
  const random = seeded(1);
  const ids = idsFrom(clock, random);
  const store = createMemoryStore({ clock });
  const given = (options.backends ?? ['a', 'b']).map((one) => (typeof one === 'string' ? { name: one } : one));
  const backends: Record<string, MemoryBackend> = {};
  for (const { name } of given) backends[name] = createMemoryBackend({ name, clock, neighbours: backends });
  const file = parseFleetFile({
    backends: given.map(namedBackend),
    policies: options.policies ?? { default: { factor: Math.min(2, given.length) } },
  });
  const deps = {
    ...{ store, clock, ids, log: silentLog, env: options.env ?? {}, unreported: createUsageBook() },
    openBackend: async ({ name }: { readonly name: string }) => backends[name]!,
    findCapabilities: async ({ name }: { readonly name: string }) => backends[name]!.capabilities,
  };
  await apply(deps, file);
  const holdfast = createClient(deps);
  const workers = createWorkers({ deps });
  return {
    ...{ holdfast, workers, store, backends, now: clock.now, advance: clock.advance },
    async settle(rounds = 30) {
      for (let round = 0; round < rounds; round += 1) {
        await workers.processPendingQueue();
        await workers.replicate();
        await workers.clean();
        await workers.processCleanupQueue();
        clock.advance(minuteMs);
      }
    },
    async close() {
      await holdfast.close();
      await workers.close();
    },
  };
}
