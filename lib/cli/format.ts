import { printable } from '../base/printable.ts';

export { bytes, duration, plural } from '../base/amounts.ts';

export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

/** A name as one line of text: what would be unseen is written out. */
export function escaped(text: string): string {
  return printable(text, 'one-line');
}

/** A word of a command line, for a shell, where it needs it. */
export function quoted(word: string): string {
  return /^[\w./:@=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Rows under a heading, columns aligned: numbers to the right, everything else to the left. */
export function table(heading: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) => row.map(String));
  const isRight = heading.map((_, i) => rows.length > 0 && rows.every((row) => isAmount(row[i])));
  const width = heading.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (isRight[i] ? cell.padStart(width[i]!) : cell.padEnd(width[i]!)))
      .join('  ')
      .trimEnd();
  return [line(heading), ...cells.map(line)].join('\n');
}

function isAmount(cell: string | number | undefined): boolean {
  return typeof cell === 'number' || cell === '-' || /^-?\d[\d.]*( ?[KMGTP]?i?B| %)?$/.test(cell ?? '');
}
