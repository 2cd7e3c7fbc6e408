import { parse } from 'acorn';
import type { Change, Edit } from './edits.ts';
import type { FindScopes } from './source.ts';

/** A defect made by hand: a rule of the design left out. Two edits where the first rule has another behind it. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
}

/** The files that a mutant changes, by path, with their code as it then is. */
export function mutated({ name, edits }: Mutant, find: FindScopes): Map<string, string> {
  try {
    const changes = Map.groupBy(
      edits.map((edit) => edit(find)),
      ({ file }) => file,
    );
    return new Map([...changes].map(([file, all]) => [file.path, changed(file.code, all)]));
  } catch (error) {
    throw new Error(`Mutant "${name}" does not fit: ${(error as Error).message}`, { cause: error });
  }
}

/** From the last to the first, so that each finds its place where it was. */
function changed(code: string, changes: readonly Change[]): string {
  let text = code;
  let next = code.length;
  for (const { start, end, code: instead } of changes.toSorted((a, b) => b.start - a.start)) {
    if (end > next) throw new Error('two of its edits are of one place');
    text = text.slice(0, start) + instead + text.slice(end);
    next = start;
  }
  parse(text, { ecmaVersion: 'latest', sourceType: 'module' });
  return text;
}
