import { fileURLToPath } from 'node:url';
import { writePage } from './bundle-page.ts';

// Run by `npm run build`, after the compiler: the page stands beside the code that serves it.
await writePage(fileURLToPath(new URL('../../dist/lib/console/page', import.meta.url)));
