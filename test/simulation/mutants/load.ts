import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { mutants } from './all.ts';
import { mutated } from './mutated.ts';
import { createFindScopes, libraryFiles } from './source.ts';

// Loaded before the simulator in a process of its own: changes files of lib/ on their way into the process.
const mutant = mutants.find(({ name }) => name === process.env.HOLDFAST_MUTANT);
if (mutant === undefined) throw new Error(`There is no mutant "${process.env.HOLDFAST_MUTANT}"`);
const changed = mutated(mutant, createFindScopes(libraryFiles()));

registerHooks({
  load(url, context, next) {
    const source = url.startsWith('file:') ? changed.get(fileURLToPath(url)) : undefined;
    return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true };
  },
});
