import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { PageFiles } from './bundle-page.ts';

let files: Promise<PageFiles> | undefined;

/** The page, read once in a process. */
export function pageFiles(): Promise<PageFiles> {
  files ??= readFiles();
  return files;
}

/** As it is in the built package; from sources it is bundled now. */
async function readFiles(): Promise<PageFiles> {
  const built = (name: string) => fileURLToPath(new URL(`./page/${name}`, import.meta.url));
  const [script, style] = [built('page.js'), built('page.css')];
  if (existsSync(script)) return { script: readFileSync(script), style: readFileSync(style) };
  const { bundlePage } = await import('./bundle-page.ts');
  return bundlePage();
}
