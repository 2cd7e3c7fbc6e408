import { existsSync } from 'node:fs';
import { type Console, type ConsoleOptions, startConsole } from '../../lib/console/console.ts';
import type { ActionAnswer, Overview } from '../../lib/console/protocol.ts';
import { pollMs } from '../../lib/console/watch.ts';
import type { Change } from '../../lib/store/port.ts';
import { createTestFleet, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';

/** A console over a fleet in memory, that looks at the fleet when the test says so. */
export interface ConsoleLab {
  readonly fleet: TestFleet;
  readonly console: Console;
  readonly token: string;
  /** Five seconds pass: it looks once more. */
  poll(): Promise<void>;
  get<T>(path: string, headers?: Record<string, string>): Promise<{ readonly status: number; readonly body: T }>;
  act(action: string, asked: unknown): Promise<{ readonly status: number; readonly body: ActionAnswer }>;
  /** What a page is told when it is opened. */
  overview(): Promise<Overview>;
  close(): Promise<void>;
}

export async function startConsoleLab(
  options: TestFleetOptions = {},
  consoleOptions: ConsoleOptions = {},
): Promise<ConsoleLab> {
  const fleet = await createTestFleet(options);
  return consoleOver(fleet, consoleOptions);
}

export async function consoleOver(fleet: TestFleet, options: ConsoleOptions = {}): Promise<ConsoleLab> {
  const waiting = new Set<() => void>();
  let arrived = () => {};
  const clock = {
    now: fleet.clock.now,
    sleep: (ms: number, signal?: AbortSignal) => {
      if (ms !== pollMs) return fleet.clock.sleep(ms, signal);
      return new Promise<void>((resolve, reject) => {
        waiting.add(resolve);
        arrived();
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    },
  };
  const running = await startConsole({ ...fleet.deps, clock }, options);
  const token = new URL(running.url).searchParams.get('token')!;
  const origin = `http://127.0.0.1:${running.port}`;
  const authorization = `Bearer ${token}`;
  return {
    fleet,
    console: running,
    token,
    async poll() {
      fleet.clock.advance(pollMs);
      const next = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      for (const wake of waiting) wake();
      waiting.clear();
      await next;
    },
    async get(path, headers = {}) {
      const response = await fetch(`${origin}${path}`, { headers: { authorization, ...headers } });
      return { status: response.status, body: (await response.json()) as never };
    },
    async act(action, asked) {
      const response = await fetch(`${origin}/api/actions/${action}`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(asked),
      });
      return { status: response.status, body: (await response.json()) as ActionAnswer };
    },
    async overview() {
      const response = await fetch(`${origin}/api/events`, { headers: { authorization } });
      const reader = response.body!.getReader();
      for (let text = ''; ; ) {
        const { value, done } = await reader.read();
        if (done) throw new Error('The console told nothing');
        text += Buffer.from(value).toString();
        const found = /^data: (.*)\n\n/m.exec(text);
        if (found === null) continue;
        await reader.cancel();
        return JSON.parse(found[1]!) as Overview;
      }
    },
    close: () => running.close(),
  };
}

/** Debian's; elsewhere it is named in the environment. */
export const chromiumPath = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'].find(
  (path) => path !== undefined && existsSync(path),
);

/** Nothing that asks for anything beyond this machine. */
export const chromiumFlags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const twelveBackends = Array.from({ length: 12 }, (_, i) => `store-${String(i).padStart(2, '0')}`);

/** Ten million objects as the ledger knows them, in every pair of twelve backends. */
export function addTenMillion(fleet: TestFleet): number {
  const pairs = twelveBackends.flatMap((one, i) => twelveBackends.slice(i + 1).map((other) => [one, other] as const));
  const objects = Math.ceil(10_000_000 / pairs.length);
  const add = (sk: string, count: number, bytes: number): Change => ({
    kind: 'add',
    pk: 'fleet',
    sk: `${sk}#0`,
    add: { objects: count, bytes },
  });
  for (const [one, other] of pairs) {
    const bytes = objects * 1_000_000;
    fleet.store.apply([
      add(`placement/default/${one}+${other}`, objects, bytes),
      add(`used/${one}`, 0, bytes),
      add(`used/${other}`, 0, bytes),
    ]);
  }
  return objects * pairs.length;
}
