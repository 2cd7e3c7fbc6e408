import type { ClientProcess } from './actors.ts';
import type { ChaosDeps } from './deps.ts';

/** A put on its way that is to fall asleep, and what has become of it. */
interface Sleeper {
  readonly process: ClientProcess;
  readonly key: string;
  /** Once it sleeps: when the reaper may take its intents. */
  readonly takenAt?: number;
  readonly isTaken?: boolean;
}

/**
 * Puts of several copies that sleep when their bytes stand and are not recorded yet. One of their backends does not answer
 * meanwhile, so that the reaper records a copy and leaves another; then somebody overwrites the object, and the put wakes.
 */
export interface SleepingPuts {
  /** False where it cannot be now. */
  begin(process: ClientProcess, key: string): boolean;
  /** Before each step. */
  watch(): void;
}

const minuteMs = 60_000;

export function createSleepingPuts(
  { world, faults, oracle, actors, surroundings, regrets: random }: ChaosDeps,
  beginReaper: () => void,
): SleepingPuts {
  let sleeper: Sleeper | undefined;

  const isReaping = () => [...actors.ticks].some(({ actor }) => actor.role === 'pending-reaper');

  /** Backends where bytes of the put stand under an intent. */
  function standing({ key }: Sleeper): string[] {
    return [...oracle.queue.values()]
      .filter((item) => item.state === 'intent' && item.key === key)
      .filter(({ backend, storageKey }) => surroundings.backends.get(backend)?.peek(storageKey) !== undefined)
      .map(({ backend }) => backend);
  }

  function fallAsleep(it: Sleeper): Sleeper {
    const names = standing(it);
    if (names.length < 2 || !world.isCommitting(it.process.actor)) return it;
    faults.count('client frozen');
    world.freeze(it.process.actor, random.between(10 * minuteMs, 20 * minuteMs));
    faults.openWindow(random.pick(names), 'backend outage', 9 * minuteMs);
    return { ...it, takenAt: world.now + 5.5 * minuteMs };
  }

  function goOn(it: Sleeper): Sleeper | undefined {
    if (it.takenAt === undefined) return it.process.actor.state === 'running' ? fallAsleep(it) : undefined;
    if (world.now < it.takenAt) {
      world.pass(it.takenAt - world.now);
      return it;
    }
    if (it.isTaken !== true) {
      beginReaper();
      return { ...it, isTaken: true };
    }
    if (isReaping()) return it;
    actors.put(actors.startClient(), it.key);
    return undefined;
  }

  return {
    begin(process, key) {
      const isOn = faults.isOn('client frozen') && faults.isOn('puts of several copies');
      if (!isOn || sleeper !== undefined || !random.chance(0.6)) return false;
      actors.put(process, key, { copies: 2 });
      sleeper = { process, key };
      return true;
    },
    watch() {
      if (sleeper !== undefined) sleeper = goOn(sleeper);
    },
  };
}
