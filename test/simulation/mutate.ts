import { registerHooks } from 'node:module';
import { mutations } from './mutations.ts';

// Loaded before the simulator in a process of its own: changes one file of lib/ on its way into the process.
const mutation = mutations.find(({ name }) => name === process.env.HOLDFAST_MUTANT);
if (mutation === undefined) throw new Error(`There is no mutant "${process.env.HOLDFAST_MUTANT}"`);

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith(`/lib/${mutation.file}`)) return loaded;
    const source = String(loaded.source);
    if (!source.includes(mutation.find))
      throw new Error(`Mutant "${mutation.name}" does not fit lib/${mutation.file} any more`);
    return { ...loaded, source: source.replace(mutation.find, () => mutation.replace) };
  },
});
