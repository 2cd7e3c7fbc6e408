import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type Duplex, Readable } from 'node:stream';
import { collect } from '../../base/bytes.ts';
import { type Clock, seconds, systemClock } from '../../base/clock.ts';
import { hasArrived, watchedBody } from './answer-body.ts';
import { isSlowDown, SilenceError } from './errors.ts';
import { createPace } from './pace.ts';
import { createTurns } from './turns.ts';

export interface S3Timeouts {
  /** Until a connection stands. */
  readonly connectMs: number;
  /** From a request, or the last byte of one that is streamed, to the head of its answer. */
  readonly answerMs: number;
  /** Between two signs of life while bytes flow, either way. */
  readonly stallMs: number;
}

/** One physical request, told before it is sent: retries are told too. `sentBytes` is the length of its body. */
export type OnRequest = (operation: string, sentBytes: number) => void;

export interface WireOptions {
  readonly clock: Clock;
  readonly timeouts: S3Timeouts;
  readonly maxSockets: number;
  /** Whether sockets serve more than one request. */
  readonly keepsSockets: boolean;
  readonly onRequest?: OnRequest | undefined;
}

/** A request with everything that goes over the wire. */
export interface WireRequest {
  readonly operation: string;
  readonly isSecure: boolean;
  readonly hostname: string;
  readonly port?: number;
  readonly method: string;
  /** Encoded, with its query. */
  readonly path: string;
  /** Names and values in turn; each character is sent as one byte. */
  readonly headers: readonly string[];
  readonly body?: Uint8Array | Readable;
  /** Of the body. */
  readonly sentBytes: number;
  /** Whether the body of a good answer is handed on as it arrives. */
  readonly readsObject: boolean;
}

export interface WireAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: IncomingMessage['headers'];
  /** Streamed only when an object was read well. */
  readonly body: Uint8Array | IncomingMessage;
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

/** Above what peers commonly keep: a socket idle for longer may be dead without a sign, so it is not used again. */
const idleSocketMs = 15_000;

/** Most that is read from a socket at once. */
const readBytes = 256 * 1024;

/**
 * Sends each physical request to a backend, over kept-alive sockets. Except for the body of an object, answers are read whole
 * here, where a stall is noticed, and `maxSockets` requests at most wait for an answer at a time, fewer where the backend asks
 * to be asked less: queueing here, instead of inside the agent, keeps a busy process from taking its own queue for a silent backend. Streamed bodies, either way, do not
 * queue: one may be the source of another, and their number is bounded by those who hold them.
 */
export function createWire({ clock, timeouts, maxSockets, keepsSockets, onRequest }: WireOptions): Wire {
  const agentOptions = {
    keepAlive: keepsSockets,
    maxSockets: Number.POSITIVE_INFINITY,
    maxFreeSockets: maxSockets,
    timeout: idleSocketMs,
  };
  const plain = readingInPlace(new HttpAgent(agentOptions));
  const secure = readingInPlace(new HttpsAgent(agentOptions));
  const watch = createWatch(timeouts);
  const turns = createTurns(clock, maxSockets);
  const pace = createPace(clock);

  const roundTrip = (asked: WireRequest, { signal, answerMs = timeouts.answerMs }: SendOptions) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const { isSecure, hostname: host, port, method, path, headers, body } = asked;
      const where = { host, ...(port !== undefined && { port }), method, path, headers };
      const request = isSecure ? httpsRequest({ ...where, agent: secure }) : httpRequest({ ...where, agent: plain });
      const giveUp = (error: unknown) => {
        request.destroy();
        reject(error);
      };
      const awaitAnswer = () => {
        if (body instanceof Readable) watch.stop(request);
        else
          watch.until(request, answerMs, () => giveUp(new SilenceError(`no answer came within ${seconds(answerMs)}`)));
      };
      request.on('socket', (socket) => {
        if (!socket.connecting) return awaitAnswer();
        const { connectMs } = timeouts;
        watch.until(request, connectMs, () =>
          giveUp(
            new SilenceError(
              `no connection was made within ${seconds(connectMs)}; check \`endpoint\` and the network between`,
            ),
          ),
        );
        socket.once('connect', awaitAnswer);
      });
      request.on('response', (answer) => {
        watch.stop(request);
        // Between two reads nobody listens; the error is met at the next one.
        answer.on('error', ignored);
        resolve(answer);
      });
      request.on('error', reject);
      const abort = () => giveUp(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      request.on('close', () => {
        watch.stop(request);
        signal?.removeEventListener('abort', abort);
      });
      if (body instanceof Readable) body.pipe(request);
      else request.end(body);
    });

  return {
    async send(request, options) {
      const isStreamed = request.body instanceof Readable;
      const { signal } = options;
      await pace.turn(signal);
      if (!isStreamed) await turns.take();
      try {
        signal?.throwIfAborted();
        onRequest?.(request.operation, request.sentBytes);
        const answer = await roundTrip(request, options);
        const { statusCode: status = 0, statusMessage: reason = '', headers } = answer;
        if (request.readsObject && status < 300) return { status, reason, headers, body: answer };
        const body = await readWhole(answer, clock, timeouts.stallMs);
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
      plain.destroy();
      secure.destroy();
    },
  };
}

const ignored = () => {};

/**
 * Each connection reads into memory of its own, again and again, from which the HTTP parser copies what it hands on: large
 * reads, and half the memory that waits for the garbage collector.
 */
function readingInPlace<A extends HttpAgent>(agent: A): A {
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, done) => {
    const onread = {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback(this: Duplex, length: number, buffer: Uint8Array) {
        this.emit('data', buffer.subarray(0, length));
        return true;
      },
    };
    return connect({ ...options, onread } as typeof options, done);
  };
  return agent;
}

async function readWhole(answer: IncomingMessage, clock: Clock, stallMs: number): Promise<Uint8Array> {
  if (hasArrived(answer)) {
    const bytes: unknown = answer.read();
    // Its socket is free again only then: whoever goes on before that opens another.
    await new Promise<void>((resolve) => answer.once('end', resolve).once('close', resolve).resume());
    return bytes instanceof Uint8Array ? bounded(bytes, bytes.length) : new Uint8Array();
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
  readonly dueAt: number;
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
      await systemClock.sleep(everyMs, signal);
      const now = systemClock.now();
      for (const [what, { dueAt, giveUp }] of watched) {
        if (dueAt > now) continue;
        watched.delete(what);
        giveUp();
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
