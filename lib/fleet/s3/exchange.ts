import type { Body } from '../../base/bytes.ts';
import { type AnswerHead, createAnswerReader } from './answer-reader.ts';
import { type ArrivingBody, createArrival } from './arriving-body.ts';
import { type Connection, type Place, readBytes, type Sockets } from './sockets.ts';

/** A request as it goes over a connection. */
export interface Outgoing {
  readonly place: Place;
  readonly method: string;
  /** Everything before the body; each character is one byte. */
  readonly head: string;
  readonly body?: Uint8Array | Body | undefined;
  /** Of the body [0]. */
  readonly bodyBytes?: number;
}

export interface Incoming extends AnswerHead {
  readonly body: ArrivingBody;
}

/** What comes of a request: an answer, whose body may break off, or an error; and in any case its end. */
export interface ExchangeEvents {
  answered(answer: Incoming): void;
  failed(error: unknown): void;
  over(): void;
}

/** A request under way. */
export interface Exchange {
  readonly connection: Pick<Connection, 'whenConnected' | 'whenReady'>;
  /** Gives it up: its connection is closed. */
  destroy(error: unknown): void;
}

/** From here on what was read is handed on as it is; less is copied, so that it does not hold much more memory than it fills. */
const worthKeeping = readBytes / 4;
/** Up to here head and body are one write. */
const worthJoining = 64 * 1024;

/** Sends one request and reads its answer. The connection is kept where both have come to their end. */
export function exchange(
  sockets: Sockets,
  { place, method, head, body, bodyBytes = 0 }: Outgoing,
  events: ExchangeEvents,
): Exchange {
  let isOver = false;
  let isAnswered = false;
  let handedBytes = 0;
  let keptMs: number | undefined;

  const fail = (error: unknown) => {
    if (isOver) return;
    isOver = true;
    connection.destroy();
    if (isAnswered) arrival.fail(error);
    else events.failed(error);
    events.over();
  };
  const arrival = createArrival({
    pause: () => void connection.socket.pause(),
    resume: () => void (isOver || connection.socket.resume()),
    leave: fail,
    reuse: sockets.reuse,
  });
  const reader = createAnswerReader(method, {
    head(answer) {
      isAnswered = true;
      keptMs = keptMsOf(answer);
      events.answered({ ...answer, body: arrival.body });
    },
    body(bytes, isAlone) {
      if (!isAlone || bytes.length < worthKeeping) return arrival.push(copied(bytes));
      connection.keepMemory();
      arrival.push(bytes);
    },
    end(left) {
      if (isOver) return;
      isOver = true;
      // What was not sent yet would be read as the next request.
      const isSent = handedBytes >= bodyBytes && connection.socket.writableLength === 0;
      if (left === 'kept' && isSent) connection.giveBack(keptMs);
      else connection.destroy();
      arrival.end();
      events.over();
    },
  });
  const guarded = (read: () => void) => {
    try {
      read();
    } catch (error) {
      fail(error);
    }
  };
  const connection = sockets.take(place, {
    read: (bytes) => guarded(() => reader.read(bytes)),
    over: (error) => (error === undefined ? guarded(() => reader.ended()) : fail(error)),
  });
  const { socket } = connection;

  const pump = async (pieces: Body) => {
    try {
      for await (const piece of pieces) {
        if (isOver) return;
        handedBytes += piece.length;
        await new Promise<void>((written) => socket.write(piece, () => written()));
      }
    } catch (error) {
      fail(error);
    }
  };
  connection.whenReady(() => {
    if (isOver) return;
    if (body !== undefined && !(body instanceof Uint8Array)) {
      socket.write(head, 'latin1');
      void pump(body);
    } else {
      handedBytes = body?.length ?? 0;
      writeWhole(socket, head, body);
    }
  });
  return { connection, destroy: fail };
}

function writeWhole(socket: Connection['socket'], head: string, body: Uint8Array | undefined): void {
  if (body === undefined || body.length > worthJoining) {
    socket.write(head, 'latin1');
    if (body !== undefined) socket.write(body);
    return;
  }
  const all = Buffer.allocUnsafe(head.length + body.length);
  all.write(head, 'latin1');
  all.set(body, head.length);
  socket.write(all);
}

function copied(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

function keptMsOf({ headers }: AnswerHead): number | undefined {
  const says = headers['keep-alive'];
  const [, seconds] = /(?:^|[\s,])timeout=(\d+)/i.exec(String(says ?? '')) ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
