import { systemClock } from '../../lib/base/clock.ts';
import { createMemoryBackend } from '../../lib/fleet/memory-backend.ts';
import { backendContract } from './backend.ts';

backendContract('memory backend', async () => {
  const backend = createMemoryBackend({ name: 'mem', clock: systemClock });
  return {
    backend,
    reset: async () => {
      for (const key of [...backend.contents().keys()]) backend.deleteNow(key);
    },
    close: async () => {},
  };
});
