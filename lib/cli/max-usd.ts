import { inDollars } from '../base/amounts.ts';
import { CommandError } from './failure.ts';

/** Throws where what is to begin may cost more than `--max-usd` allows; nothing was begun. */
export function assertAffordable(what: string, usd: number, most: number | undefined): void {
  if (most === undefined || usd <= most) return;
  throw new CommandError(
    'over-max-usd',
    `Cannot ${what}: it may cost ${inDollars(usd)}, and --max-usd allows ${inDollars(most)}; nothing was begun`,
  );
}
