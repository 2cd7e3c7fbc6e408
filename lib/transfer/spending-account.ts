import {
  leastUsage,
  minusUsage,
  mostUsage,
  noUsage,
  plusUsage,
  timesUsage,
  type Usage,
  usageFields,
} from '../base/usage.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { type ExceededLimit, usageLimitsOf } from '../fleet/usage-limits.ts';
import { exceeded, type LimitUse, timesThatFit } from './budget.ts';

/** What one process draws beyond what it needs is so much of what is left at most: what is nearly spent is drawn piece by piece. */
const mostAhead = 1 / 8;
/** It draws ahead as much as it spent since it drew for a minute last, and for so many more of the same at least. */
const leastAhead = 16;

/** What is known of one backend, by the limits of the file in which it was read. */
interface Known {
  readonly at: number;
  readonly terms: string;
  readonly uses: readonly Pick<LimitUse, 'limit' | 'period' | 'used'>[];
  /** What others hold, and what this process owes. */
  readonly others: Usage;
}

/** What one process spends on one backend, what it holds of its limits for that, and what it knows of them. */
export interface Account {
  /** Claims that run, less what of them is paid for. */
  promised: Usage;
  /** What is planned, and nothing is drawn for: nothing else is begun with it. */
  setAside: Usage;
  /** Paid for, and not known to be written down. */
  unwritten: Usage;
  /** What of that has ended, and is not taken. */
  ended: Usage;
  /** Paid for since it was renewed. */
  lately: Usage;
  held: { readonly usage: Usage; readonly usableUntil: number; readonly terms: string } | undefined;
  known: Known | undefined;
  turns: number;
  turn: Promise<unknown>;
}

/** What a claim that runs has still to pay for. */
export interface Promised {
  rest: Usage;
  /** Whether it stores anything there. */
  writes: boolean;
}

export function newAccount(): Account {
  const nothing = { promised: noUsage, setAside: noUsage, unwritten: noUsage, ended: noUsage, lately: noUsage };
  return { ...nothing, held: undefined, known: undefined, turns: 0, turn: Promise.resolve() };
}

export function needOf({ unwritten, promised }: Account): Usage {
  return plusUsage(unwritten, promised);
}

export function covers(backend: BackendConfig, account: Account, asked: Usage, now: number): boolean {
  const { held } = account;
  if (held === undefined || held.terms !== termsOf(backend) || now >= held.usableUntil) return false;
  const needed = plusUsage(needOf(account), asked);
  return usageFields.every((field) => needed[field] <= held.usage[field]);
}

/** By the entry of a backend, which a fleet file that is read again has anew. */
const terms = new WeakMap<BackendConfig, string>();

/** By which limits a backend is spent on: what was drawn or found spent by others says nothing of these. */
export function termsOf(backend: BackendConfig): string {
  const known = terms.get(backend);
  if (known !== undefined) return known;
  const { usdPerMillionA, usdPerMillionB, egressUsdPerGb } = backend;
  const all = JSON.stringify([usageLimitsOf(backend), usdPerMillionA, usdPerMillionB, egressUsdPerGb]);
  terms.set(backend, all);
  return all;
}

/**
 * What is needed, and some of the same ahead. Where not all of that fits into its part of what is left, only whole pieces of
 * what is asked are: less could not be spent by anybody.
 */
export function portionFor(backend: BackendConfig, account: Account, needed: Usage, asked: Usage): Usage {
  const howOften = (wanted: Usage) => {
    const all = usageLimitsOf(backend).map(({ per, allows }) =>
      timesThatFit(backend, allows, { all: plusUsage(before(account, per), needed), wanted, part: mostAhead }),
    );
    return Math.min(...all);
  };
  const ahead = mostUsage(account.lately, timesUsage(asked, leastAhead));
  if (howOften(ahead) >= 1) return plusUsage(needed, ahead);
  const piece = isNothing(asked) ? account.lately : asked;
  const most = isNothing(asked)
    ? 1
    : Math.max(leastAhead, ...usageFields.map((field) => ahead[field] / (asked[field] || Infinity)));
  const times = Math.min(most, howOften(piece));
  return plusUsage(needed, timesUsage(piece, isNothing(asked) ? times : Math.floor(times)));
}

/** What was spent in the period of a limit, and what others hold; a limit that was not there when that was read has nothing. */
function before({ known }: Account, per: 'month' | 'day'): Usage {
  const used = known?.uses.find(({ limit }) => limit.per === per)?.used ?? noUsage;
  return plusUsage(used, known?.others ?? noUsage);
}

/** @param beside what is planned beside that */
export function refusalBy(
  backend: BackendConfig,
  account: Account,
  asked: Usage,
  beside: Usage = noUsage,
): ExceededLimit | null {
  const needed = plusUsage(plusUsage(needOf(account), beside), asked);
  for (const { per, allows } of usageLimitsOf(backend)) {
    const reason = exceeded(backend, allows, { all: plusUsage(before(account, per), needed), asked });
    if (reason !== null) return reason;
  }
  return null;
}

export function giveBack(account: Account, claim: Promised): void {
  account.promised = minusUsage(account.promised, claim.rest);
  claim.rest = noUsage;
}

export function redeemable(claims: readonly Promised[]): Usage {
  return claims.map(({ rest }) => rest).reduce(plusUsage, noUsage);
}

/** What is paid for now was promised to whoever pays, and to nobody twice. */
export function redeem(account: Account, claims: readonly Promised[], usage: Usage): void {
  let left = usage;
  for (const claim of claims) {
    const part = leastUsage(claim.rest, left);
    claim.rest = minusUsage(claim.rest, part);
    account.promised = minusUsage(account.promised, part);
    left = minusUsage(left, part);
  }
}

export function isNothing(usage: Usage): boolean {
  return usageFields.every((field) => usage[field] === 0);
}
