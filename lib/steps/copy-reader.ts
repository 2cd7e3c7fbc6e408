import { createAdmission } from '../base/admission.ts';
import type { Tick, TickAccount, TickTime } from '../tick/tick.ts';
import type { CopyReader } from '../transfer/reading/reading.ts';

const readers = new WeakMap<object, CopyReader>();

/** What a reader is made of: one tick's. */
export type CopyReaderTick = Pick<Tick, 'deps' | 'runId' | 'params' | 'of' | 'config' | 'backend' | 'budget'> &
  Pick<TickAccount, 'figures'> &
  TickTime;

/** The reader of whole copies of this tick: one, so that what it has in flight is bounded. Loaded when something is read. */
export function copyReader(tick: CopyReaderTick): CopyReader {
  const known = readers.get(tick);
  if (known !== undefined) return known;
  let loading: Promise<CopyReader> | undefined;
  const load = () => {
    loading ??= createReader(tick);
    return loading;
  };
  const reader: CopyReader = {
    read: async (bytes, options) => (await load()).read(bytes, options),
    readAll: async (all, options) => (await load()).readAll(all, options),
    standing: async (bytes) => (await load()).standing(bytes),
  };
  readers.set(tick, reader);
  return reader;
}

async function createReader(tick: CopyReaderTick): Promise<CopyReader> {
  const { createCopyReader } = await import('../transfer/reading/copy-reader.ts');
  const { store, clock, log } = tick.deps;
  return createCopyReader({
    store,
    clock,
    log,
    holder: tick.runId,
    startedAt: tick.startedAt,
    deadline: tick.deadline,
    signal: tick.signal,
    admission: createAdmission(tick.params.maxBytesInFlight, () => {
      tick.figures.admissionRejections = (tick.figures.admissionRejections ?? 0) + 1;
    }),
    windowBytes: tick.params.partBytes,
    backend: (name) => tick.backend(name),
    budget: () => tick.budget(),
    bytesPerSecond: (name) => (tick.config.backends.find((b) => b.name === name)?.maxBytesPerSecond ?? 0) / tick.of,
  });
}
