import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parameters } from '../../lib/config/parameters.ts';
import { type CliLab, runCli, startCli } from '../cli/kit.ts';
import { type Block, blocksOf, pages, root, textOf } from './markdown.ts';

const commandBlocks = pages.flatMap(blocksOf).filter(({ language }) => ['sh', 'bash', 'console'].includes(language));
const place = ({ page, line }: Pick<Block, 'page' | 'line'>) => `${page}:${line}`;

/** A command of a block: variables that are set for it, and its words. */
interface Command {
  readonly env: Readonly<Record<string, string>>;
  readonly words: readonly string[];
}

/** As a shell would read it, of what the pages use: comments, `&&`, quotes, variables in front. */
function commandsOf(text: string): Command[] {
  const joined = text.replaceAll('\\\n', ' ').replace(/(^|\s)#.*$/gm, '');
  return joined
    .split(/\n|&&/)
    .map((line) => [...line.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) => word.replace(/['"]/g, '')))
    .filter((words) => words.length > 0)
    .map((words) => {
      const start = words.findIndex((word) => !/^[A-Z_0-9]+=/.test(word) && word !== 'export');
      const assigned = start === -1 ? words : words.slice(0, start);
      const env = Object.fromEntries(
        assigned.filter((word) => word !== 'export').map((word) => word.split(/=(.*)/s, 2)),
      );
      return { env, words: start === -1 ? [] : words.slice(start) };
    });
}

/** Names of backends that the pages give as examples, and which of the embedded ones stand in for them. */
const standIns: Readonly<Record<string, string>> = { full: 'local-1', other: 'local-2', b2: 'local-2', aws: 'local-3' };

/** `npx holdfast put k` → `put k`; null for another program. */
function argsOf({ words }: Command): readonly string[] | null {
  if (words[0] === 'holdfast') return words.slice(1);
  return words[0] === 'npx' && words[1] === 'holdfast' ? words.slice(2) : null;
}

test('a block of commands that is not run says why', () => {
  const others = commandBlocks.filter(
    ({ notRun, text }) =>
      notRun === undefined && commandsOf(text).some((one) => one.words.length > 0 && argsOf(one) === null),
  );
  expect(others.map(place), 'run by nobody: put `<!-- not run: why -->` above').toEqual([]);
});

describe('the commands of the pages', () => {
  const runnable = commandBlocks.filter(({ notRun }) => notRun === undefined);
  let lab: CliLab;
  beforeAll(async () => {
    lab = await startCli({ backends: 3 });
    await lab.json(['init']);
    copyFileSync(lab.stack.fleetPath, join(lab.dir, 'fleet.json'));
    writeFileSync(join(lab.dir, 'cat.jpg'), 'meow');
  });
  afterAll(() => lab.close());

  test.each(runnable.map((block) => [place(block), block] as const))('run as %s says', async (_, block) => {
    let exported = {};
    for (const command of commandsOf(block.text)) {
      const args = argsOf(command);
      if (args === null) exported = { ...exported, ...command.env };
      else {
        const ran = await lab.run(
          args.map((arg) => standIns[arg] ?? arg),
          { env: { ...exported, ...command.env } },
        );
        expect({ args, code: ran.code, stderr: ran.code === 0 ? '' : ran.stderr }).toEqual({
          args,
          code: 0,
          stderr: '',
        });
      }
    }
  });
});

/** Every `holdfast …` in a line of text, and in a block, run or not. */
function mentions(): { readonly at: string; readonly args: readonly string[] }[] {
  return pages.flatMap((page) => {
    const inBlocks = blocksOf(page).filter(({ language }) => ['sh', 'bash', ''].includes(language));
    const inText = [...textOf(page).matchAll(/`((?:npx )?holdfast [^`\n]+)`/g)].map(([, text]) => ({
      page,
      line: 0,
      text: text!,
    }));
    return [...inBlocks, ...inText].flatMap((one) =>
      commandsOf(one.text).flatMap((command) => {
        const args = argsOf(command);
        return args === null ? [] : [{ at: place(one), args }];
      }),
    );
  });
}

test('every verb and flag that the pages name is there', async () => {
  const helps = new Map<string, string>();
  const helpOf = async (verb: string) => {
    const known = helps.get(verb) ?? (await runCli(['help', verb])).stdout;
    helps.set(verb, known);
    return known;
  };
  const main = (await runCli(['--help'])).stdout;
  const wrong: string[] = [];
  for (const { at, args } of mentions()) {
    const [verb = ''] = args;
    if (!/^[a-z]+$/.test(verb) || verb === 'help') continue;
    const help = new RegExp(`^ {2}${verb}\\b`, 'm').test(main) ? await helpOf(verb) : undefined;
    if (help === undefined) wrong.push(`${at}: holdfast ${verb}`);
    else
      for (const flag of args.flatMap((arg) => [...(/--[a-z][a-z-]+/.exec(arg) ?? [])]))
        if (!help.includes(flag) && !main.includes(flag)) wrong.push(`${at}: holdfast ${verb} ${flag}`);
  }
  expect(wrong).toEqual([]);
});

test('every script of npm, and every parameter of a worker, that the pages name is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const wrong = pages.flatMap((page) => {
    const text = textOf(page);
    const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, script]) => script!);
    const tuned = [
      ...text.matchAll(
        /\b((?:REPLICATOR|SCRUBBER|RECONCILER|REBALANCER|PENDING_REAPER|CLEANUP_QUEUE|OVER_REPLICATION_CLEANER)_[A-Z_]+[A-Z])\b/g,
      ),
    ].map(([, name]) => name!);
    const sizes = /_(TIMEOUT_SECONDS|MEMORY_MB)$/;
    return [
      ...named.filter((script) => !Object.hasOwn(scripts, script)),
      ...tuned.filter((name) => !Object.hasOwn(parameters, name) && !sizes.test(name)),
    ].map((name) => `${page}: ${name}`);
  });
  expect(wrong).toEqual([]);
});
