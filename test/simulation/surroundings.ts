import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { MemoryBackend } from '../../lib/fleet/memory-backend.ts';
import type { MemoryStore } from '../../lib/store/memory/memory-store.ts';

/** What stands outside of every simulated process: tables, buckets, and hands that need no process. */
export interface Surroundings {
  readonly store: MemoryStore;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  /** The fleet file in force. */
  fileInForce(): FleetFile;
  /** What an operator sets by hand; replaces what was set before. */
  set(settings: { readonly paused?: readonly string[]; readonly overrides?: Readonly<Record<string, string>> }): void;
  unhealthyBackends(): string[];
  /** Draining backends, and since when. */
  drains(): Map<string, number>;
}

export function createSurroundings(store: MemoryStore, backends: ReadonlyMap<string, MemoryBackend>): Surroundings {
  const row = (sk: string) => store.snapshot().rows.find((r) => r.pk === 'fleet' && r.sk === sk);
  return {
    store,
    backends,
    fileInForce: () => row('config')!.data.file as FleetFile,
    set({ paused = [], overrides = {} }) {
      const before = row('settings');
      const version = (before?.version ?? 0) + 1;
      store.apply([
        {
          kind: 'row',
          put: { pk: 'fleet', sk: 'settings', version, data: { overrides, paused } },
          expect: before?.version ?? 'absent',
        },
      ]);
    },
    drains: () => {
      const rows = store.snapshot().rows.filter((r) => r.pk === 'fleet' && r.sk.startsWith('drain/'));
      return new Map(rows.map((r) => [r.sk.slice('drain/'.length), r.data.since as number]));
    },
    unhealthyBackends: () =>
      store
        .snapshot()
        .rows.filter((r) => r.sk.startsWith('breaker/') && r.data.openedAt !== undefined)
        .map((r) => r.sk.slice('breaker/'.length)),
  };
}
