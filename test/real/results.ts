import { escaped, table } from '../../lib/cli/format.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import type { ContractResult } from './contract.ts';
import type { Step } from './end-to-end.ts';

/** What came of trying one server. */
export interface TargetResult {
  readonly name: string;
  readonly version: string;
  readonly isWell: boolean;
  readonly capabilities?: Capabilities;
  readonly contract?: ContractResult;
  readonly steps?: readonly Step[];
  /** Why it could not be tried. */
  readonly error?: string;
}

/** A table, and below it what did not hold. */
export function describeResults(results: readonly TargetResult[]): string {
  const rows = results.map(({ name, version, isWell, contract, steps, error }) => [
    name,
    version,
    contract === undefined ? '-' : `${contract.passed} of ${contract.all}`,
    contract === undefined ? '-' : String(contract.broken.filter(({ excuse }) => excuse === undefined).length),
    steps === undefined ? '-' : `${steps.filter((step) => step.error === undefined).length} of ${steps.length}`,
    error ?? (isWell ? 'ok' : 'NOT WELL'),
  ]);
  const heading = ['SERVER', 'VERSION', 'CONTRACT', 'UNEXCUSED', 'END TO END', ''];
  return [table(heading, rows), ...results.flatMap(detailsOf)].join('\n');
}

function detailsOf({ name, capabilities, contract, steps = [] }: TargetResult): string[] {
  const lacking = Object.entries(capabilities ?? {}).flatMap(([ability, value]) => (value === false ? [ability] : []));
  const broken = (contract?.broken ?? []).map(({ title, message, excuse }) =>
    excuse === undefined ? `  FAILED ${short(title)}: ${message}` : `  excused ${short(title)}: ${excuse}`,
  );
  const failed = steps.flatMap(({ name: step, error }) => (error === undefined ? [] : [`  FAILED ${step}: ${error}`]));
  return [`\n${name}: without ${lacking.join(', ') || 'nothing that is asked for'}`, ...broken, ...failed];
}

function short(title: string): string {
  return escaped(title.length <= 80 ? title : `${title.slice(0, 79)}\u2026`);
}
