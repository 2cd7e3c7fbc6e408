import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '..', '..');

/** Every page that the project has. */
export const pages: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  'test/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

export const textOf = (page: string) => readFileSync(join(root, page), 'utf8');

/** A fenced block of a page. */
export interface Block {
  readonly page: string;
  /** Of the fence. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** Why it is not run or compiled: what a comment right above it says. */
  readonly notRun: string | undefined;
}

export function blocksOf(page: string): Block[] {
  const lines = textOf(page).split('\n');
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    const [, indent, language] = /^( *)```(\w*)$/.exec(lines[i]!) ?? [];
    if (indent === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, i + 1);
    const text = lines.slice(i + 1, end).map((line) => line.slice(indent.length));
    const notRun = /<!-- not run: (.+) -->/.exec(lines[i - 1] ?? '')?.[1];
    blocks.push({ page, line: i + 1, language: language!, text: text.join('\n'), notRun });
    i = end;
  }
  return blocks;
}
