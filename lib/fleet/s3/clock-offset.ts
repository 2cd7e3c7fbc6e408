import { systemClock } from '../../base/clock.ts';

/** From here on a server may refuse a signature for its date: S3 itself from 15 minutes on. */
const toleratedMs = 240_000;

/** Learns how far this machine's clock is off. */
export interface ClockOffset {
  /** What is added to this machine's time. */
  ms(): number;
  /** Looks at the date of an answer; whether what was sent before was signed with a date that was too far off. */
  learn(headers: { readonly date?: string | undefined; readonly age?: string | undefined }, sentAt: number): boolean;
}

/** What the SDK does about clocks that are off, for the requests that are not its own. */
export function createClockOffset(): ClockOffset {
  let offsetMs = 0;
  /** Of the answers of one second. */
  let read = { date: '', at: Number.NaN };
  return {
    ms: () => offsetMs,
    learn({ date, age }, sentAt) {
      // What a cache answers, and what was on its way for long, says nothing of the time now.
      const now = systemClock.now();
      if (date === undefined || age !== undefined || now - sentAt > toleratedMs) return false;
      if (read.date !== date) read = { date, at: Date.parse(date) };
      const aheadMs = read.at - now;
      const learned = Math.abs(aheadMs) >= toleratedMs ? aheadMs : 0;
      const isNews = Math.abs(learned - offsetMs) >= toleratedMs;
      if (isNews) offsetMs = learned;
      return isNews;
    },
  };
}
