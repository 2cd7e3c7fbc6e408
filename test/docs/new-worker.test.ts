import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Block, blocksOf, root } from './markdown.ts';

const run = promisify(execFile);
const name = 'object-counter';
const list = 'lib/config/workers.ts';
/** What is made anew in a copy, or is no source. */
const leftOut = new Set(['node_modules', 'dist', 'cdk.out', 'coverage', '.git', '.holdfast']);

let copy: string;
/** Files that the sketch needs, or changes. */
const touched: string[] = [];

function write(path: string, text: string): void {
  touched.push(path);
  mkdirSync(dirname(join(copy, path)), { recursive: true });
  writeFileSync(join(copy, path), `${text.trimEnd()}\n`);
}

/** The block of the sketch that is about something. */
function sketched(what: RegExp): Block {
  const found = blocksOf('CONTRIBUTING.md').filter(({ text }) => what.test(text));
  expect(found, String(what)).toHaveLength(1);
  return found[0]!;
}

/** Does to a copy of the project what the section "Add a worker" of CONTRIBUTING.md says, and nothing else. */
beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'holdfast-new-worker-'));
  for (const entry of readdirSync(root).filter((one) => !leftOut.has(one)))
    cpSync(join(root, entry), join(copy, entry), { recursive: true });
  symlinkSync(resolve(root, 'node_modules'), join(copy, 'node_modules'));
  write(`lib/workers/${name}/${name}.ts`, sketched(/^export const objectCounter/m).text);
  const { text: line } = sketched(/^'object-counter': \{/);
  write(list, readFileSync(join(root, list), 'utf8').replace(/^\} as const satisfies/m, `  ${line}\n$&`));
  write(`test/workers/${name}.test.ts`, sketched(/^test\('the object counter/m).text);
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

async function inCopy(program: string, ...args: string[]): Promise<void> {
  const bin = join(copy, 'node_modules', '.bin', program);
  const env = { ...process.env, HOLDFAST_TEST_EXTENT: 'quick', CDK_VALIDATION: 'false' };
  await run(bin, args, { cwd: copy, env, maxBuffer: 1e8 }).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`${program} ${args.join(' ')}:\n${error.stdout}\n${error.stderr}`);
  });
}

test('a new worker is one file, one line in a list, and one test', async () => {
  expect(touched).toHaveLength(3);
  const added = readFileSync(join(copy, list), 'utf8').split('\n');
  const before = readFileSync(join(root, list), 'utf8').split('\n');
  expect(added.filter((line) => !before.includes(line))).toHaveLength(1);
  // As `npm test` does.
  await run(process.execPath, ['test/docs/generate.ts'], { cwd: copy });
  await inCopy('tsc', '-p', 'tsconfig.json');
  await inCopy('biome', 'check', '--error-on-warnings', '--vcs-enabled=false');
  // Its own test, and those that every worker of the list is held to.
  const everyWorkers = ['docs/parameters', 'docs/docs', 'docs/contributing', 'docs/rules', 'infra/template'];
  const files = [`workers/${name}`, ...everyWorkers, 'infra/handlers'].map((file) => `test/${file}.test.ts`);
  await inCopy('vitest', 'run', '--maxWorkers=1', ...files);
  expect(readFileSync(join(copy, 'docs/parameters.md'), 'utf8')).toContain('OBJECT_COUNTER_BATCH_SIZE');
});
