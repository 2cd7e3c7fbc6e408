import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type Duplex, Readable } from 'node:stream';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { collect } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { hasArrived, watchedBody } from './answer-body.ts';
import { isSlowDown } from './errors.ts';
import { wireText } from './header-text.ts';
import { createPace } from './pace.ts';
import { tolerateDates, tolerateHeaders } from './tolerate-answer.ts';

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

export interface TransportOptions {
  readonly clock: Clock;
  readonly timeouts: S3Timeouts;
  readonly maxSockets: number;
  /** Whether sockets serve more than one request. */
  readonly keepsSockets: boolean;
  readonly onRequest?: OnRequest | undefined;
}

type Handle = NodeHttpHandler['handle'];
export type Transport = Pick<
  NodeHttpHandler,
  'handle' | 'destroy' | 'updateHttpClientConfig' | 'httpHandlerConfigs' | 'metadata'
>;

/** Most that an answer may hold, but for the body of an object: a listing of a thousand of the longest keys is half of it. */
const maxAnswerBytes = 8 * 2 ** 20;

/** Above what peers commonly keep: a socket idle for longer may be dead without a sign, so it is not used again. */
const idleSocketMs = 15_000;

/** Most that is read from a socket at once. */
const readBytes = 256 * 1024;

/**
 * Sends the SDK's requests over kept-alive sockets. Except for the body of an object, answers are read whole here, where
 * a stall is noticed, and `maxSockets` requests at most wait for an answer at a time: queueing here, instead of inside
 * the agent, keeps a busy process from taking its own queue for a silent backend. Streamed bodies, either way, do not
 * queue: one may be the source of another, and their number is bounded by those who hold them.
 */
export function createTransport({ clock, timeouts, maxSockets, keepsSockets, onRequest }: TransportOptions): Transport {
  const agent = {
    keepAlive: keepsSockets,
    maxSockets: Number.POSITIVE_INFINITY,
    maxFreeSockets: maxSockets,
    timeout: idleSocketMs,
  };
  const node = new NodeHttpHandler({
    httpAgent: readingInPlace(new HttpAgent(agent)),
    httpsAgent: readingInPlace(new HttpsAgent(agent)),
    connectionTimeout: timeouts.connectMs,
    requestTimeout: timeouts.answerMs,
    throwOnRequestTimeout: true,
    socketTimeout: 0,
  });
  const turns = createTurns(maxSockets);
  const pace = createPace(clock);

  const handle: Handle = async (request, options) => {
    const isStreamed = request.body instanceof Readable;
    await pace.turn(options?.abortSignal as AbortSignal | undefined);
    if (!isStreamed) await turns.take();
    try {
      onRequest?.(request.query['x-id']?.toString() ?? request.method, Number(request.headers['content-length'] ?? 0));
      const { response } = await node.handle(asSent(request), options);
      tolerateHeaders(response.headers);
      const isObject = isReadOfObject(request) && response.statusCode < 300;
      if (!isObject) response.body = tolerateDates(await readWhole(response.body, clock, timeouts.stallMs));
      if (response.statusCode >= 400 && isSlowDown(response)) pace.slowDown();
      return { response };
    } finally {
      if (!isStreamed) turns.giveBack();
    }
  };

  return {
    metadata: node.metadata,
    handle,
    destroy: () => node.destroy(),
    updateHttpClientConfig: (key, value) => node.updateHttpClientConfig(key, value),
    httpHandlerConfigs: () => node.httpHandlerConfigs(),
  };
}

type Request = Parameters<Handle>[0];

/** Node takes the bytes of this one header for UTF-8 where it knows a length, and sends each character as a byte after that. */
function hasBytes(body: unknown): boolean {
  return (typeof body === 'string' || body instanceof Uint8Array) && body.length > 0;
}

function isReadOfObject({ method, query }: Request): boolean {
  return method === 'GET' && query['x-id'] === 'GetObject';
}

/**
 * A signed request as it goes out: its headers are the bytes that were signed, and it asks for objects as they are stored.
 * GCS unpacks what has `Content-Encoding: gzip` for those who do not say that they take it.
 */
function asSent(request: Request): Request {
  const wanted = request.method === 'HEAD' || isReadOfObject(request) ? { 'accept-encoding': 'gzip' } : {};
  const wire = (name: string, value: string) =>
    name === 'content-disposition' && hasBytes(request.body) ? wireText(wireText(value)) : wireText(value);
  // It is the first, so that Node has not met a length when it comes to it.
  const { 'content-disposition': disposition, ...others } = request.headers;
  const all = { ...(disposition !== undefined && { 'content-disposition': disposition }), ...others, ...wanted };
  const headers = Object.entries(all).map(([name, value]) => [name, wire(name, value)]);
  return Object.assign(Object.create(Object.getPrototypeOf(request)), request, {
    headers: Object.fromEntries(headers),
  });
}

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

async function readWhole(answer: Readable, clock: Clock, stallMs: number): Promise<Uint8Array> {
  if (hasArrived(answer)) {
    const bytes: unknown = answer.read();
    answer.resume();
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

/** First come, first served. */
function createTurns(size: number) {
  let free = size;
  const waiting: (() => void)[] = [];
  return {
    async take(): Promise<void> {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    giveBack(): void {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    },
  };
}
