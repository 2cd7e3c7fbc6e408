import type { Clock } from '../../base/clock.ts';

/** How fast one backend is asked: at will, until it asks to be asked less. */
export interface Pace {
  /** Waits for a request's turn. */
  turn(signal?: AbortSignal): Promise<void>;
  /** The backend said SlowDown. */
  slowDown(): void;
}

/** What a backend complained about is tried again carefully: the rate doubles in this time. */
const doublingMs = 10_000;
const fewestPerSecond = 1;
/** Complaints that come this soon after one are about requests that were on their way already. */
const ignoredMs = 1_000;

/**
 * Halves the rate at which requests were sent when the backend complains, and lets it double every ten seconds from then
 * on. It sees every physical request, whoever makes it. The SDK's own adaptive mode does not: it looks away when a request
 * with a streamed body is throttled, which most copies are, and each client, and each bucket, begins anew at one request in
 * two seconds.
 */
export function createPace(clock: Clock): Pace {
  let limit: { readonly perSecond: number; readonly since: number } | undefined;
  let nextAt = 0;
  /** Requests sent in this second and in the one before. */
  let sent = { second: 0, now: 0, before: 0 };
  const rateAt = (now: number) => (limit ? limit.perSecond * 2 ** ((now - limit.since) / doublingMs) : Infinity);
  const count = (now: number) => {
    const second = Math.floor(now / 1000);
    if (second !== sent.second) sent = { second, now: 0, before: second === sent.second + 1 ? sent.now : 0 };
    sent.now += 1;
  };
  return {
    async turn(signal) {
      const now = clock.now();
      const at = Math.max(now, nextAt);
      nextAt = at + 1000 / rateAt(now);
      if (at > now) await clock.sleep(Math.ceil(at - now), signal);
      count(clock.now());
    },
    slowDown() {
      const now = clock.now();
      if (limit && now - limit.since < ignoredMs) return;
      const perSecond = Math.min(rateAt(now), Math.max(sent.now, sent.before)) / 2;
      limit = { perSecond: Math.max(fewestPerSecond, perSecond), since: now };
    },
  };
}
