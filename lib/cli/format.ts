import { printable } from '../base/printable.ts';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `1.4 MiB` */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `3 objects`, `1 object` */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `1.2 s`, `340 ms` */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

/** A name as one line of text: what would be unseen is written out. */
export function escaped(text: string): string {
  return printable(text, 'one-line');
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
