import { systemClock } from '../../lib/base/clock.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { storeContract } from './store.ts';

storeContract('memory', async () => ({
  fresh: async () => createMemoryStore({ clock: systemClock }),
  close: async () => {},
}));
