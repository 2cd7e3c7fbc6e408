import type { Body } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import type { PutBody } from '../client/put.ts';
import { bytes, duration } from './format.ts';
import type { Session } from './session.ts';

/** Shows at a terminal how far the bytes of one object have come, while it lasts; nothing elsewhere. */
export interface TransferLine {
  /** The same bytes; `what` says what is done with them. */
  watch(what: string, body: Body, sizeBytes: number): Body;
  /** Takes the line away. */
  end(): void;
}

const everyMs = 200;

export function createTransferLine({ isJson, stderr }: Pick<Session, 'isJson' | 'stderr'>, clock: Clock): TransferLine {
  const isTerminal = !isJson && 'isTTY' in stderr && stderr.isTTY === true;
  let shownAt = 0;
  const furthest = new Map<string, number>();
  const show = (what: string, doneBytes: number, sizeBytes: number, startedAt: number) => {
    const now = clock.now();
    // Of several that are under way at once, the one that has come furthest.
    furthest.set(what, Math.max(furthest.get(what) ?? 0, doneBytes));
    if (now - shownAt < everyMs) return;
    shownAt = now;
    stderr.write(`\r${lineOf(what, furthest.get(what)!, sizeBytes, now - startedAt)}\u001b[K`);
  };
  return {
    async *watch(what, body, sizeBytes) {
      const startedAt = clock.now();
      let doneBytes = 0;
      for await (const chunk of body) {
        yield chunk;
        // The next one is asked for once this one has been taken.
        doneBytes += chunk.length;
        if (isTerminal) show(what, doneBytes, sizeBytes, startedAt);
      }
    },
    end() {
      if (shownAt > 0) stderr.write('\r\u001b[K');
    },
  };
}

/** Content to put, watched: it is read once for its hash, and then sent, to several backends perhaps at once. */
export function watchedContent(line: TransferLine, body: PutBody): PutBody {
  if (body instanceof Uint8Array || !('open' in body)) return body;
  const { sizeBytes } = body;
  let isRead = false;
  return {
    sizeBytes,
    open() {
      const what = isRead ? 'sending' : 'reading';
      isRead = true;
      return line.watch(what, body.open(), sizeBytes);
    },
  };
}

function lineOf(what: string, doneBytes: number, sizeBytes: number, elapsedMs: number): string {
  const seconds = Math.max(0.1, elapsedMs / 1000);
  const left = (elapsedMs * (sizeBytes - doneBytes)) / doneBytes;
  return `${what} ${bytes(doneBytes)} of ${bytes(sizeBytes)} · ${bytes(doneBytes / seconds)}/s · ${duration(left)} left`;
}
