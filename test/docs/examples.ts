import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { blocksOf, pages, root } from './markdown.ts';

const { exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Readonly<Record<string, { readonly default: string }>>;
};

/** Where an entry of the package is in this repository, from the folder of the examples: `holdfast/cdk` → `../../../infra/index.ts`. */
function sourceOf(entry: string): string {
  return entries[entry.replace('holdfast', '.')]!.default.replace('./dist/', '../../../').replace(/\.js$/, '.ts');
}

/** TypeScript of the pages, a file each, to be compiled with everything else: by name. */
export function examples(): Map<string, string> {
  const blocks = pages.flatMap(blocksOf).filter(({ language, notRun }) => language === 'ts' && notRun === undefined);
  return new Map(
    blocks.map(({ page, text }, i) => {
      const nth = blocks.slice(0, i).filter((one) => one.page === page).length + 1;
      const name = `${page.replaceAll(/\W+/g, '-').toLowerCase()}-${nth}.ts`;
      const code = text.replaceAll(/from '(holdfast(?:\/\w+)?)'/g, (_, entry: string) => `from '${sourceOf(entry)}'`);
      return [name, `// From ${page}, by \`npm run docs\`: do not edit.\n${code}\nexport {};\n`];
    }),
  );
}
