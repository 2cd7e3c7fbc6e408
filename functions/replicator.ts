import { replicator } from '../lib/workers/replicator/replicator.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(replicator);
