import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, buildSync, type Metafile } from 'esbuild';
import { workerExport } from '../lib/config/workers.ts';
import type { Actor } from './actors.ts';

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..');

/**
 * The encryption SDK is loaded when a fleet has a key, from a file of its own that shares nothing: sharing would draw what
 * it alone uses of the SDK clients into what every handler loads at its start. Half of it is CommonJS, so it stays that;
 * Node does not find the names of what a minified CommonJS file exports, so an ES module beside it names them.
 */
const apart = '@aws-crypto/client-node';

/** A function's code as Lambda loads it. */
export interface Bundle {
  /** Holds `index.mjs`, its chunks and their source maps. */
  readonly dir: string;
  /** Bytes of what is loaded at a cold start: `index.mjs` and what it imports; not what is imported when it is needed. */
  readonly coldBytes: number;
  readonly totalBytes: number;
}

export interface BundleOptions {
  /** [esm] */
  readonly format?: 'esm' | 'cjs';
  /** Whether this function ever decrypts [no]. */
  readonly withEncryption?: boolean;
}

/** What is bundled: a file, or the text of one. */
export type Entry = string | { readonly contents: string };

/** A worker's function is its file under the handler that all share; the one that applies the fleet file has an entry of its own. */
export function entryOf(actor: Actor): Entry {
  if (actor === 'apply' || actor === 'importer') return `functions/${actor}.ts`;
  const main = workerExport(actor);
  return {
    contents: `import { createHandler } from './functions/handler.ts';
import { ${main} } from './lib/workers/${actor}/${actor}.ts';
export const handler = createHandler(${main});`,
  };
}

/**
 * Bundles one entry point, minified, with source maps, by esbuild alone. ES modules: they start faster than CommonJS
 * (`npm run bench:cold` measures both), since only they leave out what is imported later.
 */
export function bundle(entry: Entry, dir: string, options: BundleOptions = {}): Bundle {
  const { format = 'esm', withEncryption = false } = options;
  rmSync(dir, { recursive: true, force: true });
  const { metafile } = buildSync({
    absWorkingDir: projectRoot,
    ...inputOf(entry),
    outdir: dir,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format,
    ...(format === 'esm' && { splitting: true, outExtension: { '.js': '.mjs' }, mainFields: ['module', 'main'] }),
    external: [apart],
    minify: true,
    sourcemap: true,
    sourcesContent: false,
    // Notices of licences stay out of the code; the package carries its own.
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  const { coldBytes, totalBytes } = sizesOf(metafile);
  return { dir, coldBytes, totalBytes: totalBytes + (withEncryption ? bundleApart(dir) : 0) };
}

function inputOf(entry: Entry): Pick<BuildOptions, 'entryPoints' | 'stdin' | 'entryNames'> {
  if (typeof entry === 'string') return { entryPoints: { index: entry } };
  const { contents } = entry;
  return { stdin: { contents, resolveDir: projectRoot, sourcefile: 'index.ts', loader: 'ts' }, entryNames: 'index' };
}

/** Bundles a function as it is deployed: the scrubber alone ever decrypts. */
export function bundleFunction(name: Actor, dir: string): Bundle {
  return bundle(entryOf(name), dir, { withEncryption: name === 'scrubber' });
}

/** Where Node looks for a package: beside the code. Returns its bytes. */
function bundleApart(dir: string): number {
  const home = join(dir, 'node_modules', ...apart.split('/'));
  const { metafile } = buildSync({
    absWorkingDir: projectRoot,
    entryPoints: { index: apart },
    outdir: home,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    mainFields: ['module', 'main'],
    minify: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  const names = Object.keys(createRequire(import.meta.url)(join(home, 'index.cjs')));
  writeFileSync(
    join(home, 'index.mjs'),
    `import sdk from './index.cjs';\nexport const { ${names.filter((name) => name !== 'default').join(', ')} } = sdk;\n`,
  );
  const exports = { import: './index.mjs', require: './index.cjs' };
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name: apart, exports }));
  return Object.values(metafile.outputs).reduce((sum, { bytes }) => sum + bytes, 0);
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
