import { expect, test } from 'vitest';
import {
  after,
  always,
  before,
  type Edit,
  field,
  first,
  instead,
  never,
  variable,
  without,
  withoutField,
  withoutGuard,
  withoutOperand,
} from './edits.ts';
import { mutated } from './mutated.ts';
import { createFindScopes, sourceFile } from './source.ts';

const file = sourceFile(
  '/lib/queue.ts',
  `async function settle(item: Item, seen?: Entry): Promise<Outcome> {
  if (seen === undefined) return 'gone';
  const size = item.size;
  if (item.size !== seen.size && !item.isTaken) return { outcome: 'kept', size: seen.size, ...(item.isTaken && { taken: true }) };
  else note('size');
  return remove(item) ?? keep(item);
}
const limits = { grace: minutes(5) };
const createQueue = () => ({ take(item: Item) { return item; }, drop: () => limits });
const drop = () => 1;
`,
);
const find = createFindScopes([file]);
const edited = (...edits: Edit[]) => mutated({ name: 'example', edits }, find).get(file.path)!;

test.each<[what: string, edit: Edit, before: string, now: string]>([
  ['a guard is left out', withoutGuard('settle', 'gone'), "if (seen === undefined) return 'gone';", ';'],
  ['what stands in its else remains', withoutGuard('settle', 'kept'), 'else note(', " note('size');\n  return remove"],
  ['a statement is left out', without('settle', 'remove'), 'return remove(item) ?? keep(item);', ';\n}'],
  ['a condition always holds', always('settle', 'undefined'), 'seen === undefined', 'if ((true)) return'],
  ['a condition never holds', never('settle', 'size'), 'item.size !== seen.size', 'if ((false)) return'],
  ['one side of an operator is left out', withoutOperand('settle', 'keep'), '?? keep(item)', 'return (remove(item));'],
  ['a spread is left out of an object', withoutField('settle', 'isTaken', 'taken'), 'taken: true', '...{} };'],
  ['a field gets another value', field('limits', 'grace', '0'), 'minutes(5)', '{ grace: 0 }'],
  [
    'a variable begins with another value',
    variable('settle', 'size', '$ + 1'),
    'const size = item.size;',
    'size = (item.size + 1)',
  ],
  ['an expression gives way', instead('settle', ['keep'], 'lose'), 'keep(item)', '?? (lose)(item)'],
  [
    'and may be part of the new one',
    instead('settle', ['remove', 'item'], '$ && null'),
    '',
    '(remove(item) && null) ??',
  ],
  ['something happens first', first('take', 'stop();'), '', '{stop(); return item; }'],
  ['something happens before', before('settle', ['remove'], 'stop();'), '', 'stop();return remove(item)'],
  ['something happens after', after('settle', ['remove'], 'stop();'), '', 'keep(item);stop();'],
])('%s', (_what, edit, original, now) => {
  expect(file.code).toContain(original);
  if (original !== '' && !original.startsWith('else')) expect(edited(edit)).not.toContain(original);
  expect(edited(edit)).toContain(now);
});

test('an edit that fits no place, or several, says so', () => {
  expect(() => edited(withoutGuard('settle', 'nobody'))).toThrow('0 places in queue#settle mention nobody: none');
  expect(() => edited(without('settle', 'item'))).toThrow(
    /^Mutant "example" does not fit: \d places in queue#settle mention item: /,
  );
});

test('where several functions have one name, the words tell which is meant, or the file does', () => {
  expect(() => edited(without('nobody', 'x'))).toThrow('There is no function "nobody" in lib/');
  expect(edited(instead('drop', ['limits'], 'null'))).toContain('drop: () => (null)');
  expect(() => edited(first('drop', 'stop();'))).toThrow('There are 0 functions "drop" with a body of statements');
  expect(find('queue#take').map(({ name }) => name)).toEqual(['take']);
});

test('edits of one file happen together', () => {
  const both = edited(withoutGuard('settle', 'gone'), field('limits', 'grace', '0'));
  expect(both).not.toContain('gone');
  expect(both).toContain('grace: 0');
});
