import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..', '..');
const page = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');

function section(title: string): string {
  return page.split(/^## /m).find((text) => text.startsWith(title))!;
}

/** The cells of each row of the first table. */
function rowsOf(text: string): string[][] {
  return [...text.matchAll(/^\| (.+) \|$/gm)].slice(2).map(([, row]) => row!.split(' | '));
}

const codeIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);

/** Lines of an exported declaration, with the comment above it. */
function extentOf(lines: readonly string[], name: string): number {
  const start = lines.findIndex((line) =>
    new RegExp(`^export (async )?(interface|type|function|const) ${name}\\b`).test(line),
  );
  const isBlock = /[{(]$/.test(lines[start]!);
  const end = lines.findIndex((line, i) => i >= start && (isBlock ? /^}/ : /;$/).test(line));
  const isAbove = lines[start - 1]!.endsWith('*/');
  const top = isAbove ? lines.findLastIndex((line, i) => i < start && line.startsWith('/**')) : start;
  return end - top + 1;
}

/** What the page says is rounded, so that not every change of a file is one of the page. */
const roundedBy = 15;

test('what CONTRIBUTING.md asks to be read first is at most 400 lines, about as many as it says', () => {
  const found = rowsOf(section('Read first')).map(([what, where, count]) => {
    const file = codeIn(where!)[0]!;
    const lines = readFileSync(join(root, file), 'utf8').trimEnd().split('\n');
    const names = codeIn(what!);
    const real = names.length === 0 ? lines.length : names.reduce((sum, name) => sum + extentOf(lines, name), 0);
    return { file, stated: Number(count), real };
  });
  expect(found.filter(({ stated, real }) => !(Math.abs(stated - real) <= roundedBy))).toEqual([]);
  expect(found.reduce((sum, { real }) => sum + real, 0)).toBeLessThanOrEqual(400);
});

test('CONTRIBUTING.md has a line for every folder of code, and no other', () => {
  const named = rowsOf(section('Where things are')).flatMap(([folder]) => codeIn(folder!));
  const ofLib = readdirSync(join(root, 'lib'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const present = [...ofLib.map(({ name }) => `lib/${name}/`), 'functions/', 'infra/', 'test/'];
  expect([...named].sort()).toEqual(present.sort());
});

test('every file that CONTRIBUTING.md and test/README.md name is there', () => {
  const tests = readFileSync(join(root, 'test', 'README.md'), 'utf8');
  const paths = [...codeIn(page), ...codeIn(tests)].filter((path) =>
    /^(lib|test|infra|docs|functions)\/[\w./-]+$/.test(path),
  );
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});
