import { escaped, table } from '../../lib/cli/format.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import type { ConformanceResult } from './conformance.ts';
import type { ContractResult } from './contract.ts';
import { differences, lackedBy } from './differences.ts';
import type { Step } from './end-to-end.ts';

/** What came of trying one server. */
export interface TargetResult {
  readonly name: string;
  readonly version: string;
  readonly isWell: boolean;
  readonly capabilities?: Capabilities;
  readonly contract?: ContractResult;
  readonly steps?: readonly Step[];
  /** Of a server that was started here. What it does otherwise than AWS fails nothing. */
  readonly conformance?: ConformanceResult;
  /** The promise for which `init` refuses it. */
  readonly refused?: string;
  /** Why it could not be tried. */
  readonly error?: string;
}

/** A table, and below it what each server cannot do, what Holdfast does about that, and what did not hold. */
export function describeResults(results: readonly TargetResult[]): string {
  const rows = results.map((result) => [
    result.name,
    result.version,
    ...contractOf(result),
    stepsOf(result),
    conformanceOf(result),
    result.error ?? (result.isWell ? 'ok' : 'NOT WELL') + (result.refused === undefined ? '' : ', refused by init'),
  ]);
  const heading = ['SERVER', 'VERSION', 'CONTRACT', 'UNDER A CAPABILITY', 'FAILED', 'END TO END', 'S3 SUITES', ''];
  return [table(heading, rows), ...results.flatMap(detailsOf)].join('\n');
}

function contractOf({ contract }: TargetResult): string[] {
  if (contract === undefined) return ['-', '-', '-'];
  const { passed, all, under, broken } = contract;
  return [`${passed} of ${all}`, String(under), String(broken.length)];
}

export function stepsOf({ steps }: Pick<TargetResult, 'steps'>): string {
  return steps === undefined ? '-' : `${steps.filter(({ error }) => error === undefined).length} of ${steps.length}`;
}

export function conformanceOf({ conformance }: Pick<TargetResult, 'conformance'>): string {
  return conformance === undefined ? '-' : `${conformance.held} of ${conformance.held + conformance.otherwise.length}`;
}

function detailsOf({ name, capabilities = {}, contract, steps = [], refused, conformance }: TargetResult): string[] {
  const lacked = lackedBy(capabilities).map(
    (difference) => `  differs: ${differences[difference].what}: ${differences[difference].answer}`,
  );
  const broken = (contract?.broken ?? []).map(({ title, message }) => `  FAILED ${short(title)}: ${message}`);
  const failed = steps.flatMap(({ name: step, error }) => (error === undefined ? [] : [`  FAILED ${step}: ${error}`]));
  const why = refused === undefined ? [] : [`  refused: ${refused}`];
  const unlike = (conformance?.otherwise ?? []).map((title) => `  answers otherwise than AWS: ${short(title)}`);
  return [`\n${name}:`, ...lacked, ...refusedKeys(contract), ...why, ...broken, ...failed, ...unlike];
}

/** Keys that were refused although no capability says so. */
function refusedKeys(contract: ContractResult | undefined): string[] {
  const keys = new Set((contract?.differences ?? []).flatMap(({ about }) => (about === undefined ? [] : [about])));
  return keys.size === 0 ? [] : [`  refused keys: ${[...keys].map((key) => escaped(short(key))).join(' \u00b7 ')}`];
}

function short(title: string): string {
  return escaped(title.length <= 80 ? title : `${title.slice(0, 79)}\u2026`);
}
