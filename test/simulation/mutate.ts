import { registerHooks } from 'node:module';
import { mutated } from './mutated.ts';
import { mutations } from './mutations.ts';

// Loaded before the simulator in a process of its own: changes files of lib/ on their way into the process.
const mutation = mutations.find(({ name }) => name === process.env.HOLDFAST_MUTANT);
if (mutation === undefined) throw new Error(`There is no mutant "${process.env.HOLDFAST_MUTANT}"`);

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const edit = mutation.edits.find(({ file }) => url.endsWith(`/lib/${file}`));
    return edit === undefined ? loaded : { ...loaded, source: mutated(mutation, edit.file, String(loaded.source)) };
  },
});
