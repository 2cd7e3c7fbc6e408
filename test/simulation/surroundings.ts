import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import type { MemoryStore } from '../../lib/testing/store/memory-store.ts';

/** What stands outside of every simulated process: tables, buckets, and hands that need no process. */
export interface Surroundings {
  readonly store: MemoryStore;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  /** The fleet file in force. */
  fileInForce(): FleetFile;
  fleetId(): string;
  /** What an operator sets by hand; replaces what was set before. */
  set(settings: { readonly paused?: readonly string[]; readonly overrides?: Readonly<Record<string, string>> }): void;
  unhealthyBackends(): string[];
  /** Backends that were found to refuse every write, and until when they are left alone. */
  refusingBackends(): Map<string, number>;
  /** Until when reading this copy is let rest; 0: it is not. */
  readsRestUntil(backend: string, storageKey: string): number;
  /** Draining backends, and since when. */
  drains(): Map<string, number>;
}

export function createSurroundings(store: MemoryStore, backends: ReadonlyMap<string, MemoryBackend>): Surroundings {
  const row = (sk: string) => store.rowAt('fleet', sk);
  const names = [...backends.keys()];
  /** Put together once: they are asked for with every object. */
  const rowsOf = (kind: string) => names.map((name) => [name, `${kind}/${name}`] as const);
  const [drainRows, refusingRows] = [rowsOf('drain'), rowsOf('refusing')];
  return {
    store,
    backends,
    fileInForce: () => row('config')!.data.file as FleetFile,
    fleetId: () => row('config')!.data.fleetId as string,
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
      const found = new Map<string, number>();
      for (const [name, sk] of drainRows) {
        const drain = row(sk);
        if (drain !== undefined) found.set(name, drain.data.since as number);
      }
      return found;
    },
    refusingBackends: () => {
      const found = new Map<string, number>();
      for (const [name, sk] of refusingRows) {
        const refusing = row(sk);
        if (refusing !== undefined) found.set(name, refusing.data.retryAt as number);
      }
      return found;
    },
    readsRestUntil(backend, storageKey) {
      const { notBefore = 0, heldUntil = 0 } = (store.rowAt(`reading/${backend}/${storageKey}`, 'state')?.data ??
        {}) as { readonly notBefore?: number; readonly heldUntil?: number };
      // Whoever died while it read keeps it to itself until its own deadline, and a little longer.
      return Math.max(notBefore, heldUntil);
    },
    unhealthyBackends: () => names.filter((name) => row(`breaker/${name}`)?.data.openedAt !== undefined),
  };
}
