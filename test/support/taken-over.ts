import { collect } from '../../lib/base/bytes.ts';
import { defined } from '../../lib/base/defined.ts';
import { createClient, type Holdfast } from '../../lib/client/client.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { apply } from '../../lib/operations/apply.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { passName, rangesOfPass } from '../../lib/store/pass-rows.ts';
import { isRecoveryPending } from '../../lib/store/recovery.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import type { MemorySnapshot } from '../../lib/testing/store/memory-tables.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickEvent, TickReport } from '../../lib/tick/tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import type { TestFleet } from './fleet.ts';

/** New tables in the place of a fleet's own: empty, or as these once were. */
export interface Recovering {
  readonly store: MemoryStore;
  readonly client: Holdfast;
  tick(worker: WorkerName, event?: Partial<TickEvent>): Promise<TickReport>;
  recover(backends?: readonly string[], more?: object): Promise<TickReport>;
  read(key: string): Promise<string | null>;
  object(key: string): ReturnType<TestFleet['object']>;
  named(what: string): Promise<string[]>;
  isPending(): Promise<boolean>;
}

/** Takes the buckets of a fleet over with other tables. */
export async function takenOver(
  fleet: TestFleet,
  from?: MemorySnapshot,
  identity: string = 'new tables',
  /** What these tables are used for before anybody takes the buckets over. */
  before: (tick: Recovering['tick'], client: Holdfast) => Promise<unknown> = async () => {},
): Promise<Recovering> {
  const names = Object.keys(fleet.backends);
  const store = createMemoryStore({ clock: fleet.clock, identity, ...defined({ from }) });
  const deps = { ...fleet.deps, store };
  const file = fleet.store.snapshot().rows.find(({ sk }) => sk === 'config')!.data.file as FleetFile;
  const tick: Recovering['tick'] = (name, event = {}) =>
    runTick({ ...deps, unreported: createUsageBook() }, workers[name]!, {
      deadline: fleet.clock.now() + 900_000,
      ...event,
    });
  const client = createClient(deps);
  await before(tick, client);
  fleet.clock.advance(60_000);
  await apply({ ...deps, findCapabilities: async ({ name }) => fleet.backends[name]!.capabilities }, file, {
    takeOver: true,
  });
  return {
    store,
    client,
    tick,
    recover: (backends = names, more = {}) => tick('reconciler', { reconcile: { kind: 'recover', backends, ...more } }),
    async read(key) {
      const found = await client.get(key);
      return found === null ? null : (await collect(found.body)).toString();
    },
    object(key) {
      const entry = store.snapshot().objects.get(key);
      if (entry?.kind !== 'object') throw new Error(`There is no object "${key}"`);
      return entry;
    },
    async named(what) {
      const all = await Promise.all(
        names.map((name) => rangesOfPass(store, passName({ kind: 'recover', backends: [name] }))),
      );
      return all
        .flat()
        .flatMap(({ named }) => named)
        .filter((one) => one.what === what)
        .map(({ key }) => key.split('!')[0]!);
    },
    isPending: async () => isRecoveryPending(await readFleet(store, fleet.clock.now())),
  };
}
