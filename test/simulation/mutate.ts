import { registerHooks } from 'node:module';
import { mutations } from './mutations.ts';

// Loaded before the simulator in a process of its own: changes one file of lib/ on its way into the process.
const mutation = mutations.find(({ name }) => name === process.env.HOLDFAST_MUTANT);
if (mutation === undefined) throw new Error(`There is no mutant "${process.env.HOLDFAST_MUTANT}"`);

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const change = [mutation, mutation.also].find((one) => one !== undefined && url.endsWith(`/lib/${one.file}`));
    if (change === undefined) return loaded;
    const source = String(loaded.source);
    if (!source.includes(change.find))
      throw new Error(`Mutant "${mutation.name}" does not fit lib/${change.file} any more`);
    return { ...loaded, source: source.replace(change.find, () => change.replace) };
  },
});
