import type { Clock } from '../base/clock.ts';

/**
 * Copies that this process found wrong a while ago, by place. They are read last and not never: one bit that went over in
 * transit must not hide an only copy.
 */
export interface Suspects {
  has(place: string): boolean;
  add(place: string): void;
  /** It was read to its end and is good. */
  clear(place: string): void;
}

/** A copy that was misread once is asked again after this time. */
const rememberedMs = 10 * 60_000;
const mostRemembered = 1_000;

export function createSuspects(clock: Clock): Suspects {
  /** In the order in which they were found. */
  const until = new Map<string, number>();
  return {
    has: (place) => (until.get(place) ?? 0) > clock.now(),
    add(place) {
      until.delete(place);
      until.set(place, clock.now() + rememberedMs);
      if (until.size > mostRemembered) until.delete(until.keys().next().value!);
    },
    clear: (place) => void until.delete(place),
  };
}
