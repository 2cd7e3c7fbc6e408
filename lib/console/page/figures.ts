import { bytes } from '../../base/amounts.ts';
import { overview } from './api.ts';

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value: number): string {
  return grouped.format(value);
}

const units = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
] as const;

/** `3 h 20 min` */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const at = units.findIndex(([size]) => whole >= size);
  if (at < 0) return '0 s';
  const [size, unit] = units[at]!;
  const next = units[at + 1];
  const first = `${Math.floor(whole / size)} ${unit}`;
  const rest = next === undefined ? 0 : Math.floor((whole % size) / next[0]);
  return rest === 0 || next === undefined ? first : `${first} ${rest} ${next[1]}`;
}

/** By the clock of the console's process. */
export function now(): number {
  return overview.value?.now ?? 0;
}

export function ago(at: number): string {
  const seconds = (now() - at) / 1000;
  if (seconds < 0) return `in ${span(-seconds)}`;
  return seconds < 1 ? 'now' : `${span(seconds)} ago`;
}

export function utcTime(at: number): string {
  return new Date(at).toISOString().replace('T', ' ').slice(0, 19);
}

export function share(part: number, all: number): number {
  return all <= 0 ? 0 : Math.min(1, part / all);
}

export function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(ratio > 0 && ratio < 0.1 ? 1 : 0)} %`;
}

export function usd(amount: number): string {
  return `$${amount.toFixed(2)}`;
}

export { bytes };
