/** Amounts as people read them. */

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

/** `$12.50`; of less than a cent as many digits as tell it from nothing: `$0.0023` */
export function inDollars(amount: number): string {
  const digits = amount > 0 && amount < 0.01 ? Math.min(20, Math.ceil(-Math.log10(amount)) + 1) : 2;
  return `$${amount.toFixed(digits)}`;
}

/** `3 objects`, `1 object`; `2 copies` */
export function plural(count: number, noun: string): string {
  if (count === 1) return `1 ${noun}`;
  return `${count} ${noun.endsWith('py') ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;
}

/** `1.2 s`, `340 ms` */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
