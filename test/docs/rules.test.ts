import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..', '..');
const rules = [...readFileSync(join(root, 'docs', 'rules.md'), 'utf8').matchAll(/^### (.+)$/gm)].map(
  ([, name]) => name!,
);

interface Line {
  readonly place: string;
  readonly text: string;
}

function linesOf(file: string): Line[] {
  const place = relative(root, file);
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((text, i) => ({ place: `${place}:${i + 1}`, text }));
}

function filesBelow(top: string, ending: string): string[] {
  return readdirSync(join(root, top), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name));
}

const code = ['functions', 'infra', 'lib'].flatMap((top) => filesBelow(top, '.ts')).flatMap(linesOf);
const tests = filesBelow('test', '.ts').flatMap(linesOf);
const pages = [
  ...filesBelow('docs', '.md'),
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'test/README.md'].map((name) => join(root, name)),
].flatMap(linesOf);

/** A name in brackets that is no link: `[replicator-targets]`. */
const citation = /\[([a-z]{2,}(?:-[a-z]+)+)\](?!\()/g;
/** A title of a test, as far as it stands on the line where it ends. */
const title = /^\s*(?:(?:test|it|describe)(?:\.\w+)*\()?'.*\]',/;
const comment = /^\s*(?:\*|\/\*\*|\/\/)/;

function citedIn(lines: readonly Line[]): { readonly place: string; readonly name: string }[] {
  return lines.flatMap(({ place, text }) => [...text.matchAll(citation)].map(([, name]) => ({ place, name: name! })));
}

test('every rule has a name of its own, spelled out', () => {
  expect(new Set(rules).size).toBe(rules.length);
  expect(rules.filter((name) => !/^[a-z]{2,}(-[a-z]+)+$/.test(name))).toEqual([]);
});

test('every rule is cited by the title of a test', () => {
  const cited = new Set(citedIn(tests.filter(({ text }) => title.test(text))).map(({ name }) => name));
  expect(rules.filter((name) => !cited.has(name))).toEqual([]);
});

test('every rule that comments, titles and pages cite is there', () => {
  const isProse = ({ text }: Line) => comment.test(text) || title.test(text);
  const inBrackets = citedIn([...code, ...tests].filter(isProse).concat(pages));
  const unknown = inBrackets.filter(({ name }) => !rules.includes(name));
  expect(unknown).toEqual([]);
});

/** A letter and a digit is how rules were once told apart; B2, R2 and S3 are storage services. */
const ruleCode = /(?<![\w=%#$-])(?!B2|R2|S3|C3)[RCBQPSN]\d(?![\w-])/;

test('rules go by their names, and not by codes', () => {
  const found = [...code, ...tests, ...pages].filter(({ text }) => ruleCode.test(text));
  expect(found.map(({ place, text }) => `${place}: ${text.trim()}`)).toEqual([]);
});
