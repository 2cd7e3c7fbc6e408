import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Difference } from '../contracts/backend-access.ts';
import { besideCapabilities, differences, lackedBy } from './differences.ts';
import { conformanceOf, stepsOf, type TargetResult } from './results.ts';
import { servers } from './servers.ts';

/** What is kept of one run, in `recorded.json`. */
export interface Recorded {
  readonly name: string;
  readonly version: string;
  readonly isWell: boolean;
  /** Tests of the contract: held as on AWS, held under a capability, failed. */
  readonly contract?: readonly [number, number, number];
  readonly endToEnd?: string;
  /** Tests of the embedded server's suites that held there. */
  readonly conformance?: string;
  readonly lacks: readonly Difference[];
  readonly limits: Readonly<Record<string, number>>;
  readonly refusedKeys: readonly string[];
  readonly refused?: string;
}

const recordedFile = join(import.meta.dirname, 'recorded.json');
const notesFile = join(import.meta.dirname, 'providers.md');
export const pageFile = join(import.meta.dirname, '..', '..', 'docs', 'compatibility.md');

/** Keeps what came of these servers in place of what was known of them, and makes the page anew. */
export function record(results: readonly TargetResult[]): void {
  const now = results.filter(({ error }) => error === undefined).map(recordedOf);
  const kept = readRecorded().filter(({ name }) => !now.some((one) => one.name === name));
  const all = [...kept, ...now].sort((a, b) => (a.name < b.name ? -1 : 1));
  writeFileSync(recordedFile, `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(pageFile, describeCompatibility(all, readNotes()));
}

export function readNotes(): string {
  return readFileSync(notesFile, 'utf8');
}

export function readRecorded(): Recorded[] {
  return existsSync(recordedFile) ? (JSON.parse(readFileSync(recordedFile, 'utf8')) as Recorded[]) : [];
}

const limits = ['maxParts', 'metadataBytes', 'maxKeyBytes', 'maxSegmentBytes'] as const;

function recordedOf(result: TargetResult): Recorded {
  const { name, version, isWell, capabilities: can = {}, contract, refused } = result;
  const met = contract?.differences ?? [];
  const found = limits.flatMap((limit) => (can[limit] === undefined ? [] : [[limit, can[limit]] as const]));
  return {
    ...{ name, version, isWell },
    ...(contract !== undefined && { contract: [contract.passed, contract.under, contract.broken.length] as const }),
    ...(result.steps !== undefined && { endToEnd: stepsOf(result) }),
    ...(result.conformance !== undefined && { conformance: conformanceOf(result) }),
    lacks: [
      ...new Set([
        ...lackedBy(can),
        ...met.flatMap((one) => (besideCapabilities.has(one.difference) ? [one.difference] : [])),
      ]),
    ],
    limits: Object.fromEntries(found),
    refusedKeys: [...new Set(met.flatMap(({ about }) => (about === undefined ? [] : [about])))].sort(),
    ...(refused !== undefined && { refused: refused.replaceAll(/"[abc]"/g, '"\u2026"') }),
  };
}

/** The page: what was run here, server by server and difference by difference, and what providers say of themselves. */
export function describeCompatibility(recorded: readonly Recorded[], notes: string): string {
  const single = recorded.filter(({ contract }) => contract !== undefined);
  const together = recorded.filter(({ contract }) => contract === undefined);
  const rows = Object.entries(differences) as [Difference, (typeof differences)[Difference]][];
  return [
    opening,
    '## Servers\n',
    tableOf(
      ['Server', 'Version', 'Contract', 'Under a capability', 'Failed', 'End to end', 'S3 suites', 'Result'],
      single.map(({ name, version, contract, endToEnd = '-', conformance = '-', ...rest }) => {
        const [passed, under, failed] = contract!;
        const all = passed + under + failed;
        return [
          name,
          version,
          `${passed} of ${all}`,
          String(under),
          String(failed),
          endToEnd,
          conformance,
          resultOf(rest),
        ];
      }),
    ),
    ...together.map(
      ({ name, endToEnd, isWell }) => `\nA fleet of ${name}: ${endToEnd} steps${isWell ? '' : ', NOT WELL'}.`,
    ),
    refusals(single),
    notRun(single),
    '\n## Differences, and what Holdfast does about each\n',
    'A cell says *no* where the server cannot do it, or its limit. An empty cell: as on AWS.\n',
    tableOf(
      ['It', ...single.map(({ name }) => name), 'If not'],
      rows.map(([difference, { what, answer }]) => [what, ...single.map((one) => cellOf(difference, one)), answer]),
    ),
    `\n${notes.trim()}\n`,
  ].join('\n');
}

const opening = `# Compatibility

This page is made by \`npm run test:real -- --record\`. It starts servers that others wrote on one machine, and runs on
each: the check of capabilities that \`init\` makes, the contract of the backend port with those capabilities, and a fleet
through the command line (init, restart, odd keys, put, replicate, import, an outage by kill, overwrite, delete, scrub,
reconcile, drain, recount, export). Every byte is read back and compared.

The *S3 suites* are those of the embedded server: how it answers single requests, as AWS documents them. They run on
servers that the command starts itself. What holds there says how near a server is to S3; Holdfast does not need all of
it.

A test *under a capability* met a difference that \`init\` finds, and asserted what is so instead. The embedded server has
each difference as a fault (\`lib/local/s3/faults.ts\`), and the suite runs on it too.

To check a provider of your own, write its bucket as an array with one backend of a
[fleet file](fleet-file.md), and run this. It writes below a prefix of its own and removes that in the end, also after
Ctrl-C. What cannot be removed is named. It takes two minutes and about 2,300 requests. What is not on this machine is
asked only when you say that it is yours.

<!-- not run: it needs a server -->
\`\`\`sh
npm run test:real -- --endpoints mine.json --yes-i-own-this
\`\`\`
`;

function resultOf({ isWell, refused }: Pick<Recorded, 'isWell' | 'refused'>): string {
  if (refused !== undefined) return isWell ? 'refused by `init`' : 'refused by `init`, unexpectedly';
  return isWell ? 'works' : 'NOT WELL';
}

function refusals(recorded: readonly Recorded[]): string {
  const refused = recorded.filter((one) => one.refused !== undefined);
  if (refused.length === 0) return '';
  return `\n${tableOf(
    ['`init` refuses', 'because'],
    refused.map(({ name, refused: why = '' }) => [name, why]),
  )}`;
}

/** Servers that the command can start, and that were not had where it ran. */
function notRun(recorded: readonly Recorded[]): string {
  const missing = servers.filter(({ name }) => !recorded.some((one) => one.name === name));
  const named = missing.map(({ name, version }) => `${name} ${version}`);
  return named.length === 0
    ? ''
    : `\nThe command can start these as well, and was not run on them yet: ${named.join(', ')}.`;
}

function cellOf(difference: Difference, { lacks, limits: found, refusedKeys }: Recorded): string {
  if (difference === 'refusesKey') return refusedKeys.length === 0 ? '' : `${refusedKeys.length} refused`;
  if (!lacks.includes(difference)) return '';
  const limit = found[difference];
  return limit === undefined || limit === 0 ? 'no' : String(limit);
}

function tableOf(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(heading), line(heading.map(() => '---')), ...rows.map(line)].join('\n');
}
