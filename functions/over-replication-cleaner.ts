import { overReplicationCleaner } from '../lib/workers/over-replication-cleaner.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(overReplicationCleaner);
