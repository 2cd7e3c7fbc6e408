import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { examples } from './examples.ts';
import { parametersDocument } from './parameters-document.ts';

/** `npm run docs`. */
writeFileSync(new URL('../../docs/parameters.md', import.meta.url), parametersDocument());
const folder = new URL('examples/', import.meta.url);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const [name, text] of examples()) writeFileSync(new URL(name, folder), text);
