import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync, type Metafile } from 'esbuild';

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..');

/** A function's code as Lambda loads it. */
export interface Bundle {
  /** Holds `index.mjs`, its chunks and their source maps. */
  readonly dir: string;
  /** Bytes of what is loaded at a cold start: `index.mjs` and what it imports; not what is imported when it is needed. */
  readonly coldBytes: number;
  readonly totalBytes: number;
}

/**
 * Bundles one entry point, minified, with source maps, by esbuild alone. ES modules: they start faster than CommonJS
 * (`npm run bench:cold` measures both), since only they leave out what is imported later.
 */
export function bundle(entry: string, dir: string, format: 'esm' | 'cjs' = 'esm'): Bundle {
  rmSync(dir, { recursive: true, force: true });
  const { metafile } = buildSync({
    absWorkingDir: projectRoot,
    entryPoints: { index: entry },
    outdir: dir,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format,
    ...(format === 'esm' && { splitting: true, outExtension: { '.js': '.mjs' }, mainFields: ['module', 'main'] }),
    minify: true,
    sourcemap: true,
    sourcesContent: false,
    // Notices of licences stay out of the code; the package carries its own.
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  return { dir, ...sizesOf(metafile) };
}

function sizesOf({ outputs }: Metafile): Pick<Bundle, 'coldBytes' | 'totalBytes'> {
  const code = Object.entries(outputs).filter(([path]) => !path.endsWith('.map'));
  const cold = new Set<string>();
  const load = (path: string) => {
    if (cold.has(path)) return;
    cold.add(path);
    for (const { path: next, kind, external } of outputs[path]!.imports) {
      if (!external && kind === 'import-statement') load(next);
    }
  };
  for (const [path, { entryPoint }] of code) if (entryPoint !== undefined && /index\.m?js$/.test(path)) load(path);
  const bytes = (paths: Iterable<string>) => [...paths].reduce((sum, path) => sum + outputs[path]!.bytes, 0);
  return { coldBytes: bytes(cold), totalBytes: bytes(code.map(([path]) => path)) };
}
