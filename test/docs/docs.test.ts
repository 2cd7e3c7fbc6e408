import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseFleetText } from '../../lib/config/parse-fleet-file.ts';
import { type CliLab, runCli, startCli } from '../cli/kit.ts';
import { blocksOf, pages, textOf } from './markdown.ts';

const root = join(import.meta.dirname, '..', '..');
const docs = join(root, 'docs');
const read = (name: string) => readFileSync(join(docs, name), 'utf8');

/** The first code block of a language. */
function block(text: string, language: string): string {
  return new RegExp(`\`\`\`${language}\\n([^]*?)\n\`\`\``).exec(text)![1]!;
}

test('the example of docs/fleet-file.md, with a key in it, is a valid fleet file', () => {
  const { backends, policies } = parseFleetText(block(read('fleet-file.md'), 'json'));
  expect(backends.map(({ name }) => name)).toEqual(['aws', 'b2', 'ceph']);
  expect(Object.keys(policies)).toEqual(['default', 'archive']);
});

test('every fleet file of the pages is a valid one', () => {
  const files = pages
    .flatMap(blocksOf)
    .filter(({ language, text }) => language === 'json' && text.includes('"backends"'));
  for (const { page, line, text } of files) {
    expect(parseFleetText(text).backends.length, `${page}:${line}`).toBeGreaterThan(0);
  }
});

test('docs/cli.md names every verb, and no other', async () => {
  const help = (await runCli(['--help'])).stdout.split('Commands:')[1]!;
  const verbs = [...help.matchAll(/^ {2}([a-z-]+)[ [<]/gm)].map(([, verb]) => verb!).filter((verb) => verb !== 'help');
  const tables = [...read('cli.md').matchAll(/^\| Verb \|.*\n((?:\|.*\n)+)/gm)].map(([, rows]) => rows!);
  const named = [...tables.join('').matchAll(/^\| (.+?) \|/gm)]
    .flatMap(([, cell]) => [...cell!.matchAll(/`([a-z-]+)[^`]*`/g)])
    .map(([, verb]) => verb!);
  expect([...new Set(named)].sort()).toEqual([...new Set(verbs)].sort());
});

test('no line of a page is longer than 120 characters, rows of tables aside', () => {
  const long = [...pages, 'CHANGELOG.md'].flatMap((page) =>
    textOf(page)
      .split('\n')
      .flatMap((line, i) => ([...line].length > 120 && !/^ *\|/.test(line) ? [`${page}:${i + 1}`] : [])),
  );
  expect(long).toEqual([]);
});

test('links between the pages lead somewhere, to their sections too', () => {
  const titles = (page: string) =>
    [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title!
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
  const wrong = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\((?!https?:)([^)#]*)#?([^)]*)\)/g)].flatMap(([, path, section]) => {
      const target = path === '' ? page : join(page, '..', path!);
      if (!existsSync(join(root, target))) return [`${page} → ${target}`];
      const isThere = section === '' || titles(target).includes(section!);
      return isThere ? [] : [`${page} → ${target}#${section}`];
    }),
  );
  expect(wrong).toEqual([]);
});

test('README.md leads to every page', () => {
  const readme = textOf('README.md');
  expect(pages.filter((page) => page.startsWith('docs/') && !readme.includes(`(${page})`))).toEqual([]);
});

describe('the example of docs/library.md', () => {
  let lab: CliLab;
  beforeAll(async () => {
    lab = await startCli({ backends: 2 });
    await lab.json(['init']);
  });
  afterAll(() => lab.close());

  test('runs, and does what it says', async () => {
    const program = join(lab.dir, 'example.mts');
    writeFileSync(program, block(read('library.md'), 'ts').replace("'holdfast'", `'${join(root, 'lib', 'index.ts')}'`));
    const env = { ...process.env, ...lab.stack.env };
    const { stdout } = await promisify(execFile)(process.execPath, [program], { env });
    const lines = stdout.trim().split('\n');
    expect(lines[1]).toContain("meow { contentType: 'text/plain' } { colour: 'grey' }");
    expect(lines[2]).toBe('photos/cat.txt 4');
    expect(lines[3]).toContain('bad-key');
    expect(lines[4]).toBe('true');
  });
});

test('the service of docs/one-machine.md is the program itself: what stands between keeps signals from it', () => {
  const { name, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    name: string;
    bin: { holdfast: string };
  };
  const unit = block(read('one-machine.md'), 'ini');
  const [program, ...args] = /^ExecStart=\/usr\/bin\/env (.*)$/m.exec(unit)![1]!.split(' ');
  expect([program, args[0]]).toEqual(['node', `node_modules/${name}/${bin.holdfast}`]);
  expect(unit).toMatch(/^WorkingDirectory=/m);
});
