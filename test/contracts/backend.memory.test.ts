import { systemClock } from '../../lib/base/clock.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { backendContract } from './backend.ts';

backendContract('memory backend', async () => {
  const neighbour = createMemoryBackend({ name: 'near', clock: systemClock });
  const backend = createMemoryBackend({ name: 'mem', clock: systemClock, neighbours: { near: neighbour } });
  return {
    backend,
    neighbour: { backend: neighbour, place: { bucket: 'near', prefix: '' } },
    reset: async () => {
      for (const key of [...backend.contents().keys()]) backend.deleteNow(key);
    },
    close: async () => {},
  };
});
