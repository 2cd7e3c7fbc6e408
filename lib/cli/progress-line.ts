import type { Clock } from '../base/clock.ts';
import type { PassProgress } from '../operations/run-pass.ts';
import { bytes, plural } from './format.ts';
import type { Session } from './session.ts';

/** How far a pass has come: one line that is written over itself in a terminal; a line of its own now and then elsewhere. */
export interface ProgressLine {
  /** Told of each page. */
  listed(keys: number, bytes: number): void;
  /** Told after each stretch of work. */
  reached(progress: PassProgress): void;
  /** Leaves the line as it is: what comes next begins below it. */
  end(): void;
}

const terminalMs = 500;
const elsewhereMs = 30_000;

export function createProgressLine({ isJson, stderr }: Pick<Session, 'isJson' | 'stderr'>, clock: Clock): ProgressLine {
  const isTerminal = 'isTTY' in stderr && stderr.isTTY === true;
  const startedAt = clock.now();
  const seen = { keys: 0, bytes: 0, before: 0, bytesBefore: 0, share: 0, shareBefore: 0, shareAt: startedAt };
  let shownAt = startedAt;
  let isShown = false;
  const show = () => {
    shownAt = clock.now();
    const text = lineOf(seen, shownAt - startedAt);
    stderr.write(isTerminal ? `\r${text}\u001b[K` : `${text}\n`);
    isShown = true;
  };
  return {
    listed(keys, listedBytes) {
      seen.keys += keys;
      seen.bytes += listedBytes;
      if (!isJson && clock.now() - shownAt >= (isTerminal ? terminalMs : elsewhereMs)) show();
    },
    reached({ listed, bytes: allBytes, share }) {
      // What was listed before this process began counts for the whole, and not for the rate.
      seen.before = Math.max(0, listed - seen.keys);
      seen.bytesBefore = Math.max(0, allBytes - seen.bytes);
      if (seen.shareAt === startedAt) seen.shareBefore = listed === 0 ? 0 : (share * seen.before) / listed;
      seen.share = share;
      seen.shareAt = clock.now();
      if (!isJson) show();
    },
    end() {
      if (isShown && isTerminal) stderr.write('\n');
      isShown = false;
    },
  };
}

interface Seen {
  readonly keys: number;
  readonly bytes: number;
  readonly before: number;
  readonly bytesBefore: number;
  readonly share: number;
  readonly shareBefore: number;
}

function lineOf({ keys, bytes: ofThem, before, bytesBefore, share, shareBefore }: Seen, elapsedMs: number): string {
  const seconds = Math.max(1, elapsedMs / 1000);
  const parts = [plural(keys + before, 'file'), `${Math.round(keys / seconds)} a second`, bytes(ofThem + bytesBefore)];
  if (share > 0) parts.push(`about ${Math.floor(100 * share)} % of the keys`);
  const left = timeLeft(share, share - shareBefore, seconds);
  if (left !== undefined) parts.push(`about ${left} left`);
  return parts.join(' · ');
}

/** What the rest takes, if it goes on like this; not said while too little was done to tell. */
function timeLeft(share: number, done: number, seconds: number): string | undefined {
  if (done < 0.02 || share >= 1) return undefined;
  const left = (seconds * (1 - share)) / done;
  return left < 90
    ? `${Math.ceil(left)} s`
    : left < 5400
      ? `${Math.ceil(left / 60)} min`
      : `${(left / 3600).toFixed(1)} h`;
}
