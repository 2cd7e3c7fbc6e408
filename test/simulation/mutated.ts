import type { Mutation } from './mutations.ts';

/** The source of a file under lib/ with a mutation's edits. Throws when one of them does not fit exactly once. */
export function mutated({ name, edits }: Mutation, file: string, source: string): string {
  let changed = source;
  for (const { find, replace } of edits.filter((edit) => edit.file === file)) {
    const parts = changed.split(find);
    if (parts.length !== 2) throw new Error(`Mutant "${name}" does not fit lib/${file} any more`);
    changed = parts.join(replace);
  }
  return changed;
}
