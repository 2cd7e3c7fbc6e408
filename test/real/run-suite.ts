import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A test, as vitest reports it. */
export interface SuiteTest {
  readonly title: string;
  readonly ancestorTitles: readonly string[];
  readonly status: string;
  readonly failureMessages?: readonly string[];
}

interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly SuiteTest[] }[];
}

const projectRoot = join(import.meta.dirname, '..', '..');

/** A project of `vitest.config.ts` here, in a process of its own. `report` is the file that it writes. */
export async function runSuite(
  project: 'contract' | 'conformance',
  env: Readonly<Record<string, string>>,
  report: string,
): Promise<SuiteTest[]> {
  const vitest = join(projectRoot, 'node_modules', 'vitest', 'vitest.mjs');
  const named = ['--config', 'test/real/vitest.config.ts', '--project', project];
  const args = [vitest, 'run', ...named, '--reporter', 'json', '--outputFile', report];
  const child = spawn(process.execPath, args, { cwd: projectRoot, env: { ...process.env, ...env }, stdio: 'ignore' });
  await once(child, 'close');
  if (!existsSync(report)) throw new Error(`The ${project} suite did not run`);
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report;
  return testResults.flatMap(({ assertionResults }) => assertionResults);
}
