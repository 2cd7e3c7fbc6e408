import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { PageFiles } from './bundle-page.ts';

/** The page as it is in the built package; from sources it is bundled now. */
export async function pageFiles(): Promise<PageFiles> {
  const built = (name: string) => fileURLToPath(new URL(`./page/${name}`, import.meta.url));
  const [script, style] = [built('page.js'), built('page.css')];
  if (existsSync(script)) return { script: readFileSync(script), style: readFileSync(style) };
  const { bundlePage } = await import('./bundle-page.ts');
  return bundlePage();
}
