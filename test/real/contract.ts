import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { excuseFor } from './excuses.ts';
import { writeResult } from './running.ts';
import type { ProbedTarget } from './target.ts';

/** One test of the contract that did not hold. */
export interface Broken {
  readonly title: string;
  readonly message: string;
  /** The capability that it stands under; absent where nothing excuses it. */
  readonly excuse?: string;
}

export interface ContractResult {
  readonly passed: number;
  readonly all: number;
  readonly broken: readonly Broken[];
}

interface VitestReport {
  readonly testResults: readonly { readonly assertionResults: readonly VitestTest[] }[];
}

interface VitestTest {
  readonly title: string;
  readonly status: string;
  readonly failureMessages?: readonly string[];
}

const projectRoot = join(import.meta.dirname, '..', '..');

/** The contract suite of the backend port, on a server, in a process of its own. */
export async function runContract(target: ProbedTarget, dir: string): Promise<ContractResult> {
  const report = join(dir, `${target.name}.contract.json`);
  const env = { ...process.env, HOLDFAST_REAL_TARGET: writeResult(dir, `${target.name}.target.json`, target) };
  const vitest = join(projectRoot, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--config', 'test/real/vitest.config.ts', '--reporter', 'json', '--outputFile', report];
  const child = spawn(process.execPath, args, { cwd: projectRoot, env, stdio: 'ignore' });
  await once(child, 'close');
  if (!existsSync(report)) throw new Error('The contract suite did not run');
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as VitestReport;
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  const broken = tests.filter(({ status }) => status === 'failed').map((test) => brokenOf(test, target));
  return { passed: tests.filter(({ status }) => status === 'passed').length, all: tests.length, broken };
}

function brokenOf({ title, failureMessages: [first = ''] = [] }: VitestTest, target: ProbedTarget): Broken {
  const message = first.split('\n')[0]!.slice(0, 300);
  const excuse = excuseFor(title, message, target.capabilities);
  return { title, message, ...(excuse !== null && { excuse }) };
}
