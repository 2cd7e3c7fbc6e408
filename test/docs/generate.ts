import { writeFileSync } from 'node:fs';
import { parametersDocument } from './parameters-document.ts';

/** `npm run docs`. */
writeFileSync(new URL('../../docs/parameters.md', import.meta.url), parametersDocument());
