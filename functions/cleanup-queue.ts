import { cleanupQueue } from '../lib/workers/cleanup-queue/cleanup-queue.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(cleanupQueue);
