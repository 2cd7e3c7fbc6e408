import { scrubber } from '../lib/workers/scrubber/scrubber.ts';
import { createHandler } from './handler.ts';

export const handler = createHandler(scrubber);
