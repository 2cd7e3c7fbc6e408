import { workerNames } from '../../config/parameters.ts';
import type { Recounted } from '../../operations/recount.ts';
import type { FleetSummary } from '../../tick/fleet-summary.ts';
import { bytes, duration, plural, table } from '../format.ts';
import { factor } from './arrange.ts';
import type { LoadProgress } from './load.ts';
import type { Standing } from './settle.ts';
import type { Check } from './verify.ts';
import { deeds, type Work } from './work.ts';

/** All that a run of the demo has found. */
export interface Findings {
  readonly files: number;
  readonly load: LoadProgress;
  readonly work: Work;
  /** Which step was not seen, and why; null when all were. */
  readonly failure: string | null;
  readonly standing: Standing;
  readonly summary: FleetSummary;
  readonly check: Check;
  readonly recounted: Recounted;
  readonly ms: {
    readonly load: number;
    readonly replicated: number;
    readonly steps: number;
    readonly check: number;
    readonly total: number;
  };
}

/** Everything that is not as it should be; nothing when all is well. */
export function problemsOf(f: Findings): string[] {
  const { summary, standing, recounted, load, check } = f;
  const problems = [...load.failures.map((failure) => `not put: ${failure}`), ...check.problems];
  if (summary.objects !== f.files) problems.push(`${summary.objects} objects are recorded for ${f.files} files`);
  if (f.failure !== null) problems.push(f.failure);
  if (!standing.isSettled) problems.push(`the fleet has not settled: ${JSON.stringify(summary)}`);
  if (summary.damaged > 0) problems.push(`${summary.damaged} objects are damaged`);
  if (recounted.moved.length > 0) problems.push('the fleet was not at rest during the recount');
  for (const { row, ledger, counted } of recounted.differences)
    problems.push(`ledger ${row}: ${JSON.stringify(ledger)}, counted ${JSON.stringify(counted)}`);
  return problems;
}

/** The summary of a run, for people. */
export function describe(f: Findings): string {
  const { ms, load, check, summary } = f;
  const copies = check.buckets.reduce((sum, b) => sum + b.copies, 0);
  const verified = check.buckets.reduce((sum, b) => sum + b.verified, 0);
  const copyBytes = check.buckets.reduce((sum, b) => sum + b.bytes, 0);
  const perSecond = (count: number, time: number) => (count / Math.max(time, 1)) * 1000;
  const rate = (count: number, time: number) => `${perSecond(count, time).toFixed(0)}/s`;
  const rows: [string, string][] = [
    [
      'put',
      `${plural(load.put, 'object')}, ${bytes(load.putBytes)} in ${duration(ms.load)} (${rate(load.put, ms.load)})`,
    ],
    ['', `${load.overwritten} of them over other content, ${plural(load.deleted, 'more object')} put and deleted`],
    ['replicated', `to ${factor} copies each, ${duration(Math.max(0, ms.replicated - ms.load))} after the last put`],
    ['steps', `${f.failure === null ? 'all seen' : 'NOT all seen'}, in ${duration(ms.steps)}`],
    [
      'verified',
      `${verified} of ${copies} copies, ${bytes(copyBytes)}, byte for byte with a plain S3 client in ${duration(ms.check)} (${rate(verified, ms.check)}, ${bytes(perSecond(copyBytes, ms.check))}/s)`,
    ],
    [
      'queue',
      Object.entries(summary.queue)
        .map(([state, { objects }]) => `${state} ${objects}`)
        .join(' · '),
    ],
    [
      'recount',
      f.recounted.differences.length === 0
        ? 'the ledger is exact'
        : plural(f.recounted.differences.length, 'difference'),
    ],
    ['total', duration(ms.total)],
  ];
  const { waiting } = f.standing;
  if (waiting.length > 0)
    rows.push(['not due yet', waiting.map(({ key, reason }) => `"${key}" (${reason})`).join(', ')]);
  if (f.work.problems.length > 0)
    rows.push(['tried again', `${plural(f.work.problems.length, 'tick')} met a failure: ${f.work.problems[0]}`]);
  if (check.changedFiles.length > 0)
    rows.push(['not compared', `${check.changedFiles.join(', ')}: changed on disk while the demo ran`]);
  const workers = table(
    ['WORKER', 'TICKS', 'WHAT IT DID'],
    workerNames.map((name) => [name, f.work.ticks(name), deeds[name]?.(f.work) ?? '']),
  );
  const buckets = table(
    ['BACKEND', 'COPIES', 'SIZE', 'VERIFIED'],
    check.buckets.map((b) => [b.name, b.copies, bytes(b.bytes), b.verified]),
  );
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${workers}\n\n${buckets}\n\n${rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')}`;
}
