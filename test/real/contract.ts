import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Difference } from '../contracts/backend-access.ts';
import { runSuite, type SuiteTest } from './run-suite.ts';
import { writeResult } from './running.ts';
import type { ProbedTarget } from './target.ts';

/** A difference that a test of the contract met: it then asserted what is so instead. */
export interface Met {
  /** The test's whole title. */
  readonly test: string;
  readonly difference: Difference;
  /** The key that was refused. */
  readonly about?: string;
}

/** One test of the contract that did not hold. */
export interface Broken {
  readonly title: string;
  readonly message: string;
}

export interface ContractResult {
  /** Held as on AWS. */
  readonly passed: number;
  /** Held to what a capability that is lacking leaves. */
  readonly under: number;
  readonly all: number;
  readonly differences: readonly Met[];
  readonly broken: readonly Broken[];
}

/** The contract suite of the backend port, on a server, in a process of its own. */
export async function runContract(target: ProbedTarget, dir: string): Promise<ContractResult> {
  const differencesFile = join(dir, `${target.name}.differences.json`);
  const env = {
    HOLDFAST_REAL_TARGET: writeResult(dir, `${target.name}.target.json`, target),
    HOLDFAST_REAL_DIFFERENCES: differencesFile,
  };
  const tests = await runSuite('contract', env, join(dir, `${target.name}.contract.json`));
  if (!existsSync(differencesFile)) throw new Error('The contract suite did not run');
  return resultOf(tests, JSON.parse(readFileSync(differencesFile, 'utf8')) as readonly Met[]);
}

function resultOf(tests: readonly SuiteTest[], differences: readonly Met[]): ContractResult {
  const differing = new Set(differences.map(({ test }) => test));
  const held = tests.filter(({ status }) => status === 'passed');
  const under = held.filter((test) => differing.has([...test.ancestorTitles, test.title].join(' > '))).length;
  const broken = tests.flatMap(({ title, status, failureMessages: [first = ''] = [] }) =>
    status === 'passed' ? [] : [{ title, message: first.split('\n')[0]!.slice(0, 300) }],
  );
  return { passed: held.length - under, under, all: tests.length, differences, broken };
}
