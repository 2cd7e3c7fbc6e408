import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../base/clock.ts';
import { allEnded } from '../base/pool.ts';
import { leastUsage, minusUsage, noUsage, plusUsage, type Usage } from '../base/usage.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { BackendError } from '../fleet/backend.ts';
import type { Asked } from '../fleet/forward.ts';
import type { Gate } from '../fleet/meter.ts';
import { ownerKey } from '../fleet/owner.ts';
import { chargedAs, type ExceededLimit, usageLimitsOf } from '../fleet/usage-limits.ts';
import { type Store, StoreError } from '../store/port.ts';
import { type Budget, type Claim, readLimitUse } from './budget.ts';
import { drawPortion, endPortion, heldByOthers, type Portions, readPortions } from './portions.ts';
import {
  type Account,
  covers,
  giveBack,
  isNothing,
  needOf,
  newAccount,
  type Promised,
  portionFor,
  redeem,
  redeemable,
  refusalBy,
  termsOf,
} from './spending-account.ts';

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
/** What was found spent is not asked for again before. */
const knownForMs = 60_000;

/** What is wanted of a backend's limits: how much, what of that is not promised to whoever wants it, and how it is taken. */
interface Order {
  readonly asked: Usage;
  adds(): Usage;
  /** What must be left besides. */
  beside(): Usage;
  take(): void;
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

function overLimit(name: string, limit: ExceededLimit): BackendError {
  const message = `Cannot ask "${name}": a usage limit is reached (${limit}); \`holdfast usage\` says until when`;
  return new BackendError('over-limit', name, message, undefined, { limit });
}

function orWait(name: string, error: unknown): never {
  if (!(error instanceof StoreError)) throw error;
  throw new BackendError('cancelled', name, `Cannot ask "${name}": what is left of its limits is not known`, error);
}
