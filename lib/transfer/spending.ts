import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../base/clock.ts';
import { allEnded } from '../base/pool.ts';
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
import { BackendError } from '../fleet/backend.ts';
import type { Asked } from '../fleet/forward.ts';
import type { Gate } from '../fleet/meter.ts';
import { ownerKey } from '../fleet/owner.ts';
import { chargedAs, type ExceededLimit, usageLimitsOf } from '../fleet/usage-limits.ts';
import { type Store, StoreError } from '../store/port.ts';
import { type Budget, type Claim, exceeded, type LimitUse, readLimitUse, timesThatFit } from './budget.ts';
import { drawPortion, endPortion, heldByOthers, type Portions, readPortions } from './portions.ts';

/** What a process spends on backends with usage limits. It sends nothing that a limit may refuse before it holds it. */
export interface Spending extends Budget, Gate {
  /** Reads what is left of every limit now. Throws `StoreError`. */
  read(): Promise<Budget>;
  /** What has ended since the last time: it is about to be written down. */
  take(): ReadonlyMap<string, Usage>;
  /** That was written down: whoever reads the usage sees it. */
  written(taken: ReadonlyMap<string, Usage>): void;
  /** It could not be: it is taken again the next time. */
  putBack(taken: ReadonlyMap<string, Usage>): void;
  /** Whether anything is held that others may wait for. */
  isHolding(): boolean;
  /** Draws for what goes on like the last minute; gives back where nothing does. Throws `StoreError`. */
  renew(): Promise<void>;
  /** Gives back what it holds, where all that it spent is written down; else it runs out by itself. Throws `StoreError`. */
  release(): Promise<void>;
}

export interface SpendingDeps {
  readonly store: Pick<Store, 'usage' | 'control' | 'write'>;
  readonly clock: Pick<Clock, 'now'>;
  /** No other process has the same. */
  readonly holder: string;
  /** As the fleet file in force has them. */
  backends(): readonly BackendConfig[];
  /** Until when what is begun now is surely written down, if this process lives. Milliseconds since the epoch. */
  endsBy(): number;
  /** What this process spent before, and has not written down: nobody else counts it. */
  owes?(backend: string): Usage;
  /** What is never refused beside HEADs, deletions with what they need, and the owner objects. */
  isFree?(asked: Asked): boolean;
}

/** Clocks may be so far apart: others count a portion for so long after its holder begins nothing more by it. */
const clocksApartMs = 5 * 60_000;
/** What one process draws beyond what it needs is so much of what is left at most: what is nearly spent is drawn piece by piece. */
const mostAhead = 1 / 8;
/** It draws ahead as much as it spent since it drew for a minute last, and for so many more of the same at least. */
const leastAhead = 16;
/** What was found spent is not asked for again before. */
const knownForMs = 60_000;

/** What is known of one backend, by the limits of the file in which it was read. */
interface Known {
  readonly at: number;
  readonly terms: string;
  readonly uses: readonly Pick<LimitUse, 'limit' | 'period' | 'used'>[];
  /** What others hold, and what this process owes. */
  readonly others: Usage;
}

interface Account {
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

/** What is wanted of a backend's limits: how much, what of that is not promised to whoever wants it, and how it is taken. */
interface Order {
  readonly asked: Usage;
  adds(): Usage;
  /** What must be left besides. */
  beside(): Usage;
  take(): void;
}

/** What a claim that runs has still to pay for. */
interface Promised {
  rest: Usage;
  /** Whether it stores anything there. */
  writes: boolean;
}

/** By backend. */
type Claimed = ReadonlyMap<string, Promised>;
const claimed = new AsyncLocalStorage<readonly Claimed[]>();

export function createSpending(deps: SpendingDeps): Spending {
  const { store, holder } = deps;
  const now = () => deps.clock.now();
  const accounts = new Map<string, Account>();
  const accountOf = (name: string): Account => {
    const account = accounts.get(name) ?? newAccount();
    accounts.set(name, account);
    return account;
  };
  const limited = (name: string) => {
    const backend = deps.backends().find((one) => one.name === name);
    return backend === undefined || usageLimitsOf(backend).length === 0 ? undefined : backend;
  };

  /**
   * Takes what is asked, in the same moment in which it is found to be covered by what this process holds; draws where it is
   * not. One draws at a time: whoever comes meanwhile waits, and may find enough.
   */
  function afford(name: string, order: Order): Promise<ExceededLimit | null> | null {
    const account = accountOf(name);
    const backend = limited(name);
    if (backend === undefined || (account.turns === 0 && isCovered(backend, account, order))) {
      order.take();
      return null;
    }
    return inTurn(account, async () => {
      const reason = isCovered(backend, account, order) ? null : await draw(backend, account, order);
      if (reason === null) order.take();
      return reason;
    });
  }

  /** What is set aside is drawn by nobody: beside that, what others hold is to be looked at. */
  function isCovered(backend: BackendConfig, account: Account, order: Order): boolean {
    return isNothing(order.beside()) && covers(backend, account, order.adds(), now());
  }

  async function draw(backend: BackendConfig, account: Account, order: Order): Promise<ExceededLimit | null> {
    const reason = isKnown(backend, account) ? refusalBy(backend, account, order.adds(), order.beside()) : null;
    return reason ?? drawFor(backend, account, order);
  }

  /** Whether what was read a moment ago tells what is left now: by the same limits, in the same periods. */
  function isKnown(backend: BackendConfig, { known }: Account): boolean {
    if (known === undefined || known.terms !== termsOf(backend) || now() - known.at >= knownForMs) return false;
    return known.uses.every(({ period }) => now() < period.until);
  }

  async function drawFor(
    backend: BackendConfig,
    account: Account,
    { asked, adds, beside }: Omit<Order, 'take'>,
  ): Promise<ExceededLimit | null> {
    const answer = await drawPortion(store, backend.name, holder, now, async (portions) => {
      await learn(backend, account, portions);
      const reason = refusalBy(backend, account, adds(), beside());
      if (reason !== null) return { refused: reason };
      const until = Math.max(deps.endsBy(), now()) + clocksApartMs;
      const portion = { ...portionFor(backend, account, plusUsage(needOf(account), adds()), asked), until };
      // Until it is answered only what both the old and the new one allow is held.
      if (account.held !== undefined)
        account.held = { ...account.held, usage: leastUsage(account.held.usage, portion) };
      return { portion };
    });
    if (answer.outcome === 'refused') return answer.why;
    const { until, ...usage } = answer.portion;
    account.held = { usage, usableUntil: until - clocksApartMs, terms: termsOf(backend) };
    return null;
  }

  async function learn(backend: BackendConfig, account: Account, portions: Portions): Promise<void> {
    const at = now();
    // Before what is written down is read: what arrives there in between counts twice, and never not at all.
    const owed = deps.owes?.(backend.name) ?? noUsage;
    const uses = await readLimitUse(store, [backend], at);
    const others = plusUsage(heldByOthers(portions, holder, at), owed);
    account.known = { at, terms: termsOf(backend), uses, others };
  }

  const spending: Spending = {
    refuses(name, spend) {
      const backend = limited(name);
      if (backend === undefined) return null;
      const account = accountOf(name);
      const asked = chargedAs(backend, spend);
      const isSure = isNothing(account.setAside) && covers(backend, account, asked, now());
      return isSure ? null : refusalBy(backend, account, asked, account.setAside);
    },
    reserve(name, spend) {
      const backend = deps.backends().find((one) => one.name === name);
      if (backend === undefined) return () => {};
      const account = accountOf(name);
      const aside = chargedAs(backend, spend);
      account.setAside = plusUsage(account.setAside, aside);
      let isAside = true;
      return () => {
        if (isAside) account.setAside = minusUsage(account.setAside, aside);
        isAside = false;
      };
    },
    async spend(claims, run) {
      const mine = new Map<string, Promised>();
      try {
        for (const claim of claims) {
          const reason = await promised(claim, mine);
          if (reason !== null) return { outcome: 'over-limit', backend: claim.backend, reason };
        }
        const outer = claimed.getStore() ?? [];
        return { outcome: 'spent', value: await claimed.run([mine, ...outer], run) };
      } finally {
        for (const [name, claim] of mine) giveBack(accountOf(name), claim);
      }
    },
    isFree(asked) {
      return asked.storageKey === ownerKey || neverRefused.has(asked.method) || deps.isFree?.(asked) === true;
    },
    pay(name, usage, { method }) {
      const account = accountOf(name);
      const claims = (claimed.getStore() ?? []).flatMap((all) => all.get(name) ?? []);
      const take = () => {
        redeem(account, claims, usage);
        account.unwritten = plusUsage(account.unwritten, usage);
        account.lately = plusUsage(account.lately, usage);
      };
      const order = { asked: usage, adds: () => minusUsage(usage, redeemable(claims)), beside: () => noUsage, take };
      // What was just stored is not recorded before it is proven.
      const isProof = method === 'get' && claims.some(({ writes }) => writes);
      return afford(name, order)?.then(
        (limit) => {
          if (limit !== null && !isProof) throw overLimit(name, limit);
          if (limit !== null) take();
        },
        (error) => orWait(name, error),
      );
    },
    charge(name, usage) {
      const account = accountOf(name);
      account.unwritten = plusUsage(account.unwritten, usage);
    },
    settle(name, paid, spent) {
      const account = accountOf(name);
      account.unwritten = plusUsage(minusUsage(account.unwritten, paid), spent);
      account.ended = plusUsage(account.ended, spent);
    },
    async read() {
      const backends = deps.backends().filter(({ name }) => limited(name) !== undefined);
      await allEnded(
        backends.map(async (backend) =>
          learn(backend, accountOf(backend.name), await readPortions(store, backend.name)),
        ),
      );
      return spending;
    },
    isHolding: () => [...accounts.values()].some(({ held }) => held !== undefined),
    putBack(taken) {
      for (const [name, usage] of taken) {
        const account = accountOf(name);
        account.ended = plusUsage(account.ended, usage);
      }
    },
    take() {
      const taken = [...accounts].map(([name, account]) => [name, account.ended] as const);
      for (const account of accounts.values()) account.ended = noUsage;
      return new Map(taken);
    },
    written(taken) {
      for (const [name, usage] of taken) {
        const account = accountOf(name);
        account.unwritten = minusUsage(account.unwritten, usage);
        // What it held for that is spent, also where the portion cannot be renewed for now.
        const { held, known } = account;
        if (held !== undefined) account.held = { ...held, usage: minusUsage(held.usage, usage) };
        if (known === undefined) continue;
        const uses = known.uses.map((one) => ({ ...one, used: plusUsage(one.used, usage) }));
        account.known = { ...known, uses };
      }
    },
    async renew() {
      for (const [name, account] of accounts) await inTurn(account, () => renewed(name, account));
    },
    async release() {
      for (const [name, account] of accounts) await inTurn(account, () => released(name, account));
    },
  };
  return spending;

  async function promised({ backend: name, ...spend }: Claim, mine: Map<string, Promised>) {
    const backend = deps.backends().find((one) => one.name === name);
    if (backend === undefined) return null;
    const asked = chargedAs(backend, spend);
    const account = accountOf(name);
    return afford(name, {
      asked,
      adds: () => asked,
      beside: () => account.setAside,
      take() {
        account.promised = plusUsage(account.promised, asked);
        const { rest = noUsage, writes = false } = mine.get(name) ?? {};
        mine.set(name, { rest: plusUsage(rest, asked), writes: writes || storing.has(spend.kind) });
      },
    });
  }

  async function renewed(name: string, account: Account): Promise<void> {
    const backend = limited(name);
    if (account.held === undefined) return;
    if (backend === undefined || isNothing(plusUsage(needOf(account), account.lately))) return released(name, account);
    await drawFor(backend, account, { asked: noUsage, adds: () => noUsage, beside: () => noUsage });
    account.lately = noUsage;
  }

  async function released(name: string, account: Account): Promise<void> {
    if (account.held === undefined || !isNothing(account.unwritten)) return;
    account.held = undefined;
    await endPortion(store, name, holder, now());
  }
}

const storing: ReadonlySet<Claim['kind']> = new Set(['put', 'copy']);
/**
 * Deletions and what they need; and a look at one key: whether bytes of another backend may go, or are a put's, hangs on it, so
 * that one spent limit would hold up all backends.
 */
const neverRefused: ReadonlySet<Asked['method']> = new Set([
  'delete',
  'abortUpload',
  'openUploads',
  'head',
  'firstPartBytes',
]);

function newAccount(): Account {
  const nothing = { promised: noUsage, setAside: noUsage, unwritten: noUsage, ended: noUsage, lately: noUsage };
  return { ...nothing, held: undefined, known: undefined, turns: 0, turn: Promise.resolve() };
}

/** One after another; a failure is that of its own turn. */
async function inTurn<T>(account: Account, step: () => Promise<T>): Promise<T> {
  account.turns += 1;
  const turn = account.turn.then(step);
  account.turn = turn.catch(() => {});
  try {
    return await turn;
  } finally {
    account.turns -= 1;
  }
}

function needOf({ unwritten, promised }: Account): Usage {
  return plusUsage(unwritten, promised);
}

function covers(backend: BackendConfig, account: Account, asked: Usage, now: number): boolean {
  const { held } = account;
  if (held === undefined || held.terms !== termsOf(backend) || now >= held.usableUntil) return false;
  const needed = plusUsage(needOf(account), asked);
  return usageFields.every((field) => needed[field] <= held.usage[field]);
}

/** By the entry of a backend, which a fleet file that is read again has anew. */
const terms = new WeakMap<BackendConfig, string>();

/** By which limits a backend is spent on: what was drawn or found spent by others says nothing of these. */
function termsOf(backend: BackendConfig): string {
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
function portionFor(backend: BackendConfig, account: Account, needed: Usage, asked: Usage): Usage {
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
function refusalBy(
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

function giveBack(account: Account, claim: Promised): void {
  account.promised = minusUsage(account.promised, claim.rest);
  claim.rest = noUsage;
}

function redeemable(claims: readonly Promised[]): Usage {
  return claims.map(({ rest }) => rest).reduce(plusUsage, noUsage);
}

/** What is paid for now was promised to whoever pays, and to nobody twice. */
function redeem(account: Account, claims: readonly Promised[], usage: Usage): void {
  let left = usage;
  for (const claim of claims) {
    const part = leastUsage(claim.rest, left);
    claim.rest = minusUsage(claim.rest, part);
    account.promised = minusUsage(account.promised, part);
    left = minusUsage(left, part);
  }
}

function isNothing(usage: Usage): boolean {
  return usageFields.every((field) => usage[field] === 0);
}

function overLimit(name: string, limit: ExceededLimit): BackendError {
  const message = `Cannot ask "${name}": a usage limit is reached (${limit}); \`holdfast usage\` says until when`;
  return new BackendError('over-limit', name, message, undefined, { limit });
}

function orWait(name: string, error: unknown): never {
  if (!(error instanceof StoreError)) throw error;
  throw new BackendError('cancelled', name, `Cannot ask "${name}": what is left of its limits is not known`, error);
}
