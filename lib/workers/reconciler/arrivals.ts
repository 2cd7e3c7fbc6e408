import type { PutEvent } from '../../fleet/s3/event-documents.ts';
import type { Worker } from '../../tick/tick.ts';
import type { ArrivalEnd } from './import-arrivals.ts';

export type { ArrivalEnd } from './import-arrivals.ts';

/**
 * Files of which events say that they were put: each is asked for now, and imported as a pass imports it. An event is a hint
 * and nothing more: a forged, late or repeated one leads to one question about its key. What a deletion, our own copies or
 * another prefix caused leads to none. What cannot be told now is to be delivered again; nothing is lost without the events,
 * for passes and people's imports find the same files.
 *
 * It holds no lease: any number may run side by side, since every record changes by compare-and-swap.
 */
export function createArrivals(puts: readonly PutEvent[], ended: (put: PutEvent, end: ArrivalEnd) => void): Worker {
  return {
    name: 'reconciler',
    holdsNoLease: true,
    hasWork: async () => puts.length > 0,
    begin: async (tick) => async () => {
      // A cold start without news does not load what imports.
      const { importArrivals } = await import('./import-arrivals.ts');
      await importArrivals(tick, puts, ended);
      return 'done';
    },
  };
}
