import type { Body } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import type { PutBody } from '../client/put.ts';
import { bytes, duration } from './format.ts';
import type { Session } from './session.ts';

/** Content of one object that can be read more than once. */
type Reread = Extract<PutBody, { readonly open: () => Body }>;

export interface WatchedPut {
  readonly body: PutBody;
  /** Takes the line away. */
  end(): void;
}

const everyMs = 200;

/**
 * Shows at a terminal how far one put has come, while it lasts. Content is read once for its hash, and then sent, to several
 * backends perhaps at once: what is shown is the sending that has come furthest.
 */
export function watchPut(
  { isJson, stderr }: Pick<Session, 'isJson' | 'stderr'>,
  clock: Clock,
  body: PutBody,
): WatchedPut {
  const isTerminal = !isJson && 'isTTY' in stderr && stderr.isTTY === true;
  if (!isTerminal || !isReread(body)) return { body, end: () => {} };
  const { sizeBytes } = body;
  let opened = 0;
  let [shownAt, furthest] = [0, 0];
  const show = (what: string, doneBytes: number, startedAt: number) => {
    const now = clock.now();
    furthest = Math.max(furthest, doneBytes);
    if (now - shownAt < everyMs) return;
    shownAt = now;
    stderr.write(`\r${lineOf(what, furthest, sizeBytes, now - startedAt)}\u001b[K`);
  };
  const open = async function* (): Body {
    opened += 1;
    const what = opened === 1 ? 'reading' : 'sending';
    // What was read for the hash says nothing of what was sent.
    if (opened === 2) furthest = 0;
    const startedAt = clock.now();
    let doneBytes = 0;
    for await (const chunk of body.open()) {
      yield chunk;
      // It is asked for the next chunk once this one has been taken.
      doneBytes += chunk.length;
      show(what, doneBytes, startedAt);
    }
  };
  return {
    body: { sizeBytes, open },
    end() {
      if (shownAt > 0) stderr.write('\r\u001b[K');
    },
  };
}

function isReread(body: PutBody): body is Reread {
  return !(body instanceof Uint8Array) && 'open' in body;
}

function lineOf(what: string, doneBytes: number, sizeBytes: number, elapsedMs: number): string {
  const seconds = Math.max(0.1, elapsedMs / 1000);
  const left = (elapsedMs * (sizeBytes - doneBytes)) / doneBytes;
  return `${what} ${bytes(doneBytes)} of ${bytes(sizeBytes)} · ${bytes(doneBytes / seconds)}/s · ${duration(left)} left`;
}
