import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What the page is made of. */
export interface PageFiles {
  readonly script: Buffer;
  readonly style: Buffer;
}

const source = (name: string) => fileURLToPath(new URL(`./page/${name}`, import.meta.url));

/** Bundles the page by esbuild alone: one script and one style sheet, which ask for nothing else. */
export async function bundlePage(): Promise<PageFiles> {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: ['main.tsx', 'page.css'].map((name) => ({ in: source(name), out: 'page' })),
    outdir: 'page',
    bundle: true,
    write: false,
    format: 'esm',
    target: ['chrome123', 'firefox120', 'safari17.5'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const fileOf = (ending: string) => Buffer.from(outputFiles.find(({ path }) => path.endsWith(ending))!.contents);
  return { script: fileOf('.js'), style: fileOf('.css') };
}

/** Part of `npm run build`: the page as the package ships it. */
export async function writePage(dir: string): Promise<void> {
  const { script, style } = await bundlePage();
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'page.js'), script);
  writeFileSync(join(dir, 'page.css'), style);
}
