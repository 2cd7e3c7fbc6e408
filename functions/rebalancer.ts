import { rebalancer } from '../lib/workers/rebalancer/rebalancer.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(rebalancer);
