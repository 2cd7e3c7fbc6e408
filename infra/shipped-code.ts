import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Code } from 'aws-cdk-lib/aws-lambda';
import type { Actor } from './actors.ts';

/** The bundled code of a function, as the package ships it. Throws where the package was not built. */
export function shippedCode(actor: Actor): Code {
  const dir = fileURLToPath(new URL(`../lambda/${actor}`, import.meta.url));
  if (!existsSync(dir)) throw new Error(`The code of "${actor}" is not at ${dir}: build the package (npm run build)`);
  return Code.fromAsset(dir);
}
