import { reconciler } from '../lib/workers/reconciler/reconciler.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(reconciler);
