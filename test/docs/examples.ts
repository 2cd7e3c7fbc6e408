import { blocksOf, pages } from './markdown.ts';

/** Where the entries of the package are in this repository, from the folder of the examples. */
const entries: Readonly<Record<string, string>> = {
  holdfast: '../../../lib/index.ts',
  'holdfast/workers': '../../../lib/workers.ts',
  'holdfast/testing': '../../../lib/testing/index.ts',
  'holdfast/cdk': '../../../infra/index.ts',
};

/** TypeScript of the pages, a file each, to be compiled with everything else: by name. */
export function examples(): Map<string, string> {
  const blocks = pages.flatMap(blocksOf).filter(({ language, notRun }) => language === 'ts' && notRun === undefined);
  return new Map(
    blocks.map(({ page, text }, i) => {
      const nth = blocks.slice(0, i).filter((one) => one.page === page).length + 1;
      const name = `${page.replaceAll(/\W+/g, '-').toLowerCase()}-${nth}.ts`;
      const code = text.replaceAll(
        /from '(holdfast(?:\/\w+)?)'/g,
        (_, entry: string) => `from '${entries[entry] ?? entry}'`,
      );
      return [name, `// From ${page}, by \`npm run docs\`: do not edit.\n${code}\nexport {};\n`];
    }),
  );
}
