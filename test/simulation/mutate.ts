import { registerHooks } from 'node:module';
import { mutations } from './mutations.ts';

// Loaded before the simulator in a process of its own: changes files of lib/ on their way into the process.
const mutation = mutations.find(({ name }) => name === process.env.HOLDFAST_MUTANT);
if (mutation === undefined) throw new Error(`There is no mutant "${process.env.HOLDFAST_MUTANT}"`);

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const edits = mutation.edits.filter(({ file }) => url.endsWith(`/lib/${file}`));
    if (edits.length === 0) return loaded;
    let source = String(loaded.source);
    for (const { file, find, replace } of edits) {
      const parts = source.split(find);
      if (parts.length !== 2) throw new Error(`Mutant "${mutation.name}" does not fit lib/${file} any more`);
      source = parts.join(replace);
    }
    return { ...loaded, source };
  },
});
