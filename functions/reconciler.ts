import { reconciler } from '../lib/workers/reconciler.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(reconciler);
