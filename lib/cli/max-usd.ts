import { CommandError } from './failure.ts';

/** Throws where what is to begin may cost more than `--max-usd` allows; nothing was begun. */
export function assertAffordable(what: string, usd: number, most: number | undefined): void {
  if (most === undefined || usd <= most) return;
  throw new CommandError(
    'over-max-usd',
    `Cannot ${what}: it may cost $${usd.toFixed(2)}, and --max-usd allows $${most.toFixed(2)}; nothing was begun`,
  );
}
