import { join } from 'node:path';
import { access } from './access.ts';
import type { Actor } from './actors.ts';
import { bundleFunction, projectRoot } from './bundle.ts';

// Part of `npm run build`: the code of every function, as `holdfast/cdk` ships it.
for (const actor of Object.keys(access)) {
  if (actor === 'application') continue;
  bundleFunction(actor as Actor, join(projectRoot, 'dist', 'lambda', actor));
}
