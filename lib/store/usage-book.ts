import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import { type Store, StoreError } from './port.ts';

/** Usage of backends by hour (UTC, `yyyy-mm-ddThh`), then by backend. */
export type UsageByHour = Readonly<Record<string, Readonly<Record<string, Usage>>>>;

/** What a process spent on backends and has not written down: it outlives the tick, or the call, that spent it. */
export interface UsageBook {
  enter(usage: UsageByHour): void;
  /** What is entered of a backend and not known to be written down. */
  owes(backend: string): Usage;
  /**
   * Writes everything down, each amount once. What the store certainly did not take stays for the next time. What it may
   * have taken is sent again under its token; once that may be forgotten it is given up: counted less, never twice.
   * Throws `StoreError`.
   */
  flush(deps: { readonly store: Store; readonly clock: Clock; readonly ids: Ids }): Promise<void>;
}

/** A send is repeated under its token only this long: DynamoDB forgets tokens after 10 minutes. */
const tokenLifeMs = 8 * 60_000;

/** One transaction to be. */
interface Page {
  readonly hour: string;
  readonly usage: Readonly<Record<string, Usage>>;
  readonly token: string;
  readonly sentAt: number;
}

export function createUsageBook(): UsageBook {
  const open = new Map<string, Map<string, Usage>>();
  /** Sent, and not answered. */
  let unanswered: Page[] = [];
  /** The one that is being sent. */
  let sending: Page | undefined;
  let last: Promise<void> = Promise.resolve();

  function enter(hour: string, all: Readonly<Record<string, Usage>>): void {
    const backends = open.get(hour) ?? new Map<string, Usage>();
    open.set(hour, backends);
    for (const [name, usage] of Object.entries(all))
      backends.set(name, plusUsage(backends.get(name) ?? noUsage, usage));
  }

  async function drain({ store, clock, ids }: Parameters<UsageBook['flush']>[0]): Promise<void> {
    for (const page of unanswered) {
      if (clock.now() - page.sentAt < tokenLifeMs) await store.addUsage(page.hour, page.usage, page.token);
      unanswered = unanswered.filter((other) => other !== page);
    }
    for (const [hour, backends] of [...open]) {
      open.delete(hour);
      const page = { hour, usage: Object.fromEntries(backends), token: ids.ulid(), sentAt: clock.now() };
      sending = page;
      try {
        await store.addUsage(hour, page.usage, page.token);
      } catch (error) {
        if (error instanceof StoreError && error.kind === 'unanswered') unanswered.push(page);
        else enter(hour, page.usage);
        throw error;
      } finally {
        sending = undefined;
      }
    }
  }

  return {
    enter(usage) {
      for (const [hour, all] of Object.entries(usage)) enter(hour, all);
    },
    owes(backend) {
      const pages = [...unanswered, ...(sending === undefined ? [] : [sending])];
      const all = [...[...open.values()].map((one) => one.get(backend)), ...pages.map(({ usage }) => usage[backend])];
      return all.reduce<Usage>((sum, one) => plusUsage(sum, one ?? noUsage), noUsage);
    },
    flush(deps) {
      const run = last.then(() => drain(deps));
      last = run.catch(() => {});
      return run;
    },
  };
}
