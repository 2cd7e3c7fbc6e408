import { type UsageLine, usageReport } from '../../operations/usage-report.ts';
import { bytes, table, timestamp } from '../format.ts';
import { fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

/** `usage`: what was spent on backends, of what is allowed. */
export const usageVerbs: VerbGroup = (program, verb) => {
  verb(
    program
      .command('usage')
      .description('show what was spent on backends, of which limits, and when they are counted anew'),
    usage,
  );
};

async function usage(session: Session): Promise<Result> {
  const { config } = await fleetNow(session);
  const { store, clock } = session.process();
  const lines = await usageReport(store, config.file.backends, clock.now());
  return { text: lines.length === 0 ? 'nothing was spent' : usageTable(lines), document: { usage: lines } };
}

export function usageTable(lines: readonly UsageLine[]): string {
  return table(
    ['BACKEND', 'SPENT', 'PER', 'USED', 'LIMIT', 'FORECAST', 'RESET (UTC)'],
    lines.map((line) => [
      line.backend,
      names[line.what],
      line.per,
      `${amount(line, line.used)}${line.allowed > 0 && line.used >= line.allowed ? ' SPENT' : ''}`,
      line.allowed === 0 ? '-' : amount(line, line.allowed),
      amount(line, line.forecast),
      timestamp(line.resetsAt),
    ]),
  );
}

const names: Readonly<Record<UsageLine['what'], string>> = {
  requests: 'requests',
  classA: 'class A',
  classB: 'class B',
  egressBytes: 'egress',
  ingressBytes: 'ingress',
  usd: 'dollars',
};

function amount({ what }: UsageLine, value: number): string {
  if (what === 'usd') return `$${value.toFixed(value < 1 ? 4 : 2)}`;
  return what.endsWith('Bytes') ? bytes(Math.round(value)) : String(Math.round(value));
}
