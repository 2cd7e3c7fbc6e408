import { validateHeaderName, validateHeaderValue } from 'node:http';
import { onAbort } from '../../base/abort.ts';
import { type Body, collect } from '../../base/bytes.ts';
import { type Clock, seconds, systemClock } from '../../base/clock.ts';
import { watchedBody } from './answer-body.ts';
import type { AnswerHead } from './answer-reader.ts';
import type { ArrivingBody } from './arriving-body.ts';
import { isSlowDown, SilenceError } from './errors.ts';
import { exchange, type Incoming, type Outgoing } from './exchange.ts';
import { createPace } from './pace.ts';
import { createSockets, type Place } from './sockets.ts';
import { createTurns } from './turns.ts';

export interface S3Timeouts {
  /** Until a connection stands. */
  readonly connectMs: number;
  /** From a request, or the last byte of one that is streamed, to the head of its answer. */
  readonly answerMs: number;
  /** Between two signs of life while bytes flow, either way. */
  readonly stallMs: number;
}

/**
 * One physical request, told before it is sent: retries are told too. `sentBytes` is the length of its body. Where a promise is
 * returned it is sent once that resolves, and not at all when it rejects.
 */
export type OnRequest = (operation: string, sentBytes: number) => unknown;

export interface WireOptions {
  readonly clock: Clock;
  readonly timeouts: S3Timeouts;
  readonly maxSockets: number;
  /** Whether sockets serve more than one request. */
  readonly keepsSockets: boolean;
  readonly onRequest?: OnRequest | undefined;
  /** Told of each good answer once it is here whole; not of an object's, which is streamed. */
  readonly onAnswer?: (() => void) | undefined;
}

/** A request with everything that goes over the wire. */
export interface WireRequest extends Place {
  readonly operation: string;
  readonly method: string;
  /** Encoded, with its query. */
  readonly path: string;
  /** Names and values in turn; each character is sent as one byte. */
  readonly headers: readonly string[];
  readonly body?: Uint8Array | Body;
  /** Of the body. */
  readonly sentBytes: number;
  /** Whether the body of a good answer is handed on as it arrives. */
  readonly readsObject: boolean;
}

export interface WireAnswer extends AnswerHead {
  /** Streamed only when an object was read well. */
  readonly body: Uint8Array | ArrivingBody;
}

export interface SendOptions {
  readonly signal?: AbortSignal | undefined;
  /** In place of `timeouts.answerMs`. A request with a streamed body is watched by its source. */
  readonly answerMs?: number | undefined;
}

/** Sends requests to one backend. */
export interface Wire {
  send(request: WireRequest, options: SendOptions): Promise<WireAnswer>;
  /** Closes idle sockets. */
  destroy(): void;
}

/** Most that an answer may hold, but for the body of an object: a listing of a thousand of the longest keys is half of it. */
const maxAnswerBytes = 8 * 2 ** 20;

/**
 * Sends each physical request to a backend, over kept-alive sockets. Except for the body of an object, answers are read whole
 * here, where a stall is noticed, and `maxSockets` requests at most wait for an answer at a time, fewer where the backend asks
 * to be asked less: queueing here, instead of inside the agent, keeps a busy process from taking its own queue for a silent backend. Streamed bodies, either way, do not
 * queue: one may be the source of another, and their number is bounded by those who hold them.
 */
export function createWire(options: WireOptions): Wire {
  const { clock, timeouts, maxSockets, keepsSockets, onRequest, onAnswer } = options;
  const sockets = createSockets({ most: maxSockets, areKept: keepsSockets });
  const watch = createWatch(timeouts);
  const turns = createTurns(clock, maxSockets);
  const pace = createPace(clock);

  const roundTrip = (asked: WireRequest, { signal, answerMs = timeouts.answerMs }: SendOptions) =>
    new Promise<Incoming>((resolve, reject) => {
      const outgoing = outgoingOf(asked, keepsSockets);
      let forget = ignored;
      const sent = exchange(sockets, outgoing, {
        answered(answer) {
          watch.stop(outgoing);
          resolve(answer);
        },
        failed: reject,
        over() {
          watch.stop(outgoing);
          forget();
        },
      });
      if (signal) forget = onAbort(signal, () => sent.destroy(signal.reason));
      const within = (ms: number, otherwise: string) =>
        watch.until(outgoing, ms, () => sent.destroy(new SilenceError(otherwise)));
      const { connectMs } = timeouts;
      within(
        connectMs,
        `no connection was made within ${seconds(connectMs)}; check \`endpoint\` and the network between`,
      );
      sent.connection.whenConnected(() => within(answerMs, `no answer came within ${seconds(answerMs)}`));
      // From then on its source watches a streamed body.
      if (isStream(asked.body)) sent.connection.whenReady(() => watch.stop(outgoing));
    });

  return {
    async send(request, how) {
      const isStreamed = isStream(request.body);
      const { signal } = how;
      await pace.turn(signal);
      if (!isStreamed) await turns.take();
      try {
        signal?.throwIfAborted();
        const told = onRequest?.(request.operation, request.sentBytes);
        if (told instanceof Promise) {
          await told;
          signal?.throwIfAborted();
        }
        const answer = await roundTrip(request, how);
        const { status, reason, headers } = answer;
        if (request.readsObject && status < 300) return answer;
        const body = await readWhole(answer.body, clock, timeouts.stallMs);
        if (status < 300) onAnswer?.();
        if (status >= 400 && isSlowDown({ statusCode: status, reason, body })) {
          pace.slowDown();
          turns.slowDown();
        }
        return { status, reason, headers, body };
      } finally {
        if (!isStreamed) turns.giveBack();
      }
    },
    destroy() {
      watch.end();
      sockets.destroy();
    },
  };
}

const ignored = () => {};

function isStream(body: WireRequest['body']): body is Body {
  return body !== undefined && !(body instanceof Uint8Array);
}

/** Throws what Node throws of a header that cannot be sent. */
function outgoingOf({ method, path, headers, body, sentBytes, ...place }: WireRequest, isKept: boolean): Outgoing {
  const bodyBytes = body instanceof Uint8Array ? body.length : sentBytes;
  let head = `${method} ${path} HTTP/1.1\r\n`;
  let saysLength = body === undefined && method !== 'POST' && method !== 'PUT';
  for (let i = 0; i < headers.length; i += 2) {
    const [name, value] = [headers[i]!, headers[i + 1]!];
    validateHeaderName(name);
    validateHeaderValue(name, value);
    saysLength ||= name === 'content-length';
    head += `${name}: ${value}\r\n`;
  }
  if (!saysLength) head += `content-length: ${bodyBytes}\r\n`;
  head += `connection: ${isKept ? 'keep-alive' : 'close'}\r\n\r\n`;
  return { place, method, head, body, bodyBytes };
}

async function readWhole(answer: ArrivingBody, clock: Clock, stallMs: number): Promise<Uint8Array> {
  if (answer.hasArrived()) {
    const bytes = answer.takeAll();
    return bounded(bytes, bytes.length);
  }
  let sizeBytes = 0;
  const counted = async function* () {
    for await (const chunk of watchedBody(answer, clock, stallMs)) {
      sizeBytes += chunk.length;
      yield bounded(chunk, sizeBytes);
    }
  };
  return collect(counted());
}

function bounded(chunk: Uint8Array, sizeBytes: number): Uint8Array {
  if (sizeBytes > maxAnswerBytes) throw new Error(`the answer is longer than ${maxAnswerBytes} bytes`);
  return chunk;
}

interface Watched {
  dueAt: number;
  readonly giveUp: () => void;
}

/**
 * Gives up requests whose time is over: one timer for all of them, a little late at most. It is the machine's time, whatever
 * clock the process has: sockets know no other. Between two requests it goes on for one more turn, which costs less than a
 * timer for each, unless it is told that there is no other.
 */
function createWatch({ connectMs, answerMs }: S3Timeouts) {
  const everyMs = Math.ceil(Math.min(connectMs, answerMs) / 8);
  const watched = new Map<object, Watched>();
  let looking: AbortController | undefined;
  const checkProgress = async (signal: AbortSignal) => {
    while (watched.size > 0) {
      const pausedAt = systemClock.now();
      await systemClock.sleep(everyMs, signal);
      const now = systemClock.now();
      // Silence is what this process listens to: while it had no core, or its machine slept, an answer may have come.
      const lateMs = Math.max(0, now - pausedAt - everyMs);
      for (const [what, one] of watched) {
        one.dueAt += lateMs;
        if (one.dueAt > now) continue;
        watched.delete(what);
        one.giveUp();
      }
    }
    looking = undefined;
  };
  return {
    until(what: object, ms: number, giveUp: () => void): void {
      watched.set(what, { dueAt: systemClock.now() + ms, giveUp });
      if (looking !== undefined) return;
      looking = new AbortController();
      checkProgress(looking.signal).catch(ignored); // ended by `end`
    },
    stop(what: object): void {
      watched.delete(what);
    },
    /** No request is under way: nothing is to keep the process alive. */
    end(): void {
      if (watched.size > 0) return;
      looking?.abort('ended');
      looking = undefined;
    },
  };
}
