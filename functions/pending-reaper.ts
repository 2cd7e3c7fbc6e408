import { pendingReaper } from '../lib/workers/pending-reaper.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(pendingReaper);
