import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectSecure } from 'node:tls';
import { systemClock } from '../../base/clock.ts';

/** Where a connection leads. */
export interface Place {
  readonly isSecure: boolean;
  readonly hostname: string;
  readonly port?: number;
}

/** Who reads from a connection while a request of theirs is on it. */
export interface Reader {
  /** What was read: a view of memory that is read into again, unless it is `taken`. */
  read(bytes: Buffer): void;
  /** Its last byte was read, or it broke. */
  over(error: Error | undefined): void;
}

/** One connection, which serves one request at a time. */
export interface Connection {
  readonly socket: Socket;
  /** Once, when something may be written. At once on one that was kept. */
  whenReady(then: () => void): void;
  /** Once, when the other side was reached. Before that on one that stands. */
  whenConnected(then: () => void): void;
  /** Keeps the memory of what is being read, which is the caller's then: other memory is read into. */
  keepMemory(): void;
  /** Its request is over, and it serves the next. `keptMs`: as long as the backend says that it keeps it. */
  giveBack(keptMs: number | undefined): void;
  destroy(): void;
}

export interface Sockets {
  take(place: Place, reader: Reader): Connection;
  /** Memory of what was read, which nobody else has: it is read into again, or freed. */
  reuse(memory: ArrayBufferLike): void;
  destroy(): void;
}

export interface SocketOptions {
  /** Of one place, idle. */
  readonly most: number;
  /** Whether they serve more than one request. */
  readonly areKept: boolean;
}

/** Above what peers commonly keep: one that was idle for longer may be dead without a sign, so it is not used again. */
const idleMs = 15_000;
/** By which a backend may be early to close what it says that it keeps. */
const earlyMs = 1_000;
/** Most that is read at once. */
export const readBytes = 256 * 1024;
const mostSpare = 16;
const firstProbeMs = 1_000;

interface Open extends Connection {
  idleUntil: number;
  serve(reader: Reader): void;
}

/** The connections to one backend, kept from request to request. The last that was used serves the next. */
export function createSockets({ most, areKept }: SocketOptions): Sockets {
  const idle = new Map<string, Open[]>();
  const open = new Set<Open>();
  const spare: ArrayBuffer[] = [];
  /** Of TLS, by place: the next connection goes on with it. */
  const sessions = new Map<string, Buffer>();
  const memory = () => Buffer.from(spare.pop() ?? Buffer.allocUnsafeSlow(readBytes).buffer);

  const connect = (place: Place, id: string): Open => {
    const { isSecure, hostname, port } = place;
    let reader: Reader | undefined;
    let reading = memory();
    const onread = {
      buffer: () => reading,
      callback(length: number): boolean {
        // Nothing was asked for: what comes next would be taken for an answer.
        if (reader === undefined) connection.destroy();
        else reader.read(reading.subarray(0, length));
        return true;
      },
    };
    const options = { host: hostname, onread, noDelay: true, keepAlive: true, keepAliveInitialDelay: firstProbeMs };
    const session = sessions.get(id);
    const socket = isSecure
      ? connectSecure({
          ...options,
          port: port ?? 443,
          ALPNProtocols: ['http/1.1'],
          ...(isIP(hostname) === 0 && { servername: hostname }),
          ...(session && { session }),
        }).on('session', (fresh: Buffer) => void sessions.set(id, fresh))
      : connectPlain({ ...options, port: port ?? 80 });
    let phase: 'connecting' | 'connected' | 'ready' = 'connecting';
    const waiting: (readonly ['connected' | 'ready', () => void])[] = [];
    const reach = (reached: 'connected' | 'ready') => {
      phase = reached;
      for (const [phaseOf, then] of waiting) if (phaseOf === reached) then();
      // They hold a request, which the connection outlives.
      if (reached === 'ready') waiting.length = 0;
    };
    const end = (error?: Error) => {
      const served = reader;
      reader = undefined;
      connection.destroy();
      served?.over(error);
    };
    socket.on('connect', () => {
      reach('connected');
      if (!isSecure) reach('ready');
    });
    // Not before whose the other side is was checked.
    if (isSecure) socket.on('secureConnect', () => reach('ready'));
    // What was closed here, and not by the backend, has not come to its end.
    socket
      .on('error', end)
      .on('end', () => end())
      .on('close', () => end(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })));
    // It is read by `onread` alone: the stream itself only has to notice its end.
    socket.resume();
    const connection: Open = {
      socket,
      idleUntil: 0,
      whenReady: (then) => (phase === 'ready' ? then() : void waiting.push(['ready', then])),
      whenConnected: (then) => (phase === 'connecting' ? void waiting.push(['connected', then]) : then()),
      keepMemory() {
        reading = memory();
      },
      serve(next) {
        reader = next;
        socket.ref();
      },
      giveBack(keptMs = Number.POSITIVE_INFINITY) {
        reader = undefined;
        const kept = idle.get(id) ?? [];
        const lastsMs = Math.min(idleMs, keptMs - earlyMs);
        if (!areKept || lastsMs <= 0 || kept.length >= most || socket.destroyed) return connection.destroy();
        connection.idleUntil = systemClock.now() + lastsMs;
        socket.resume();
        // An idle one keeps no process alive.
        socket.unref();
        kept.push(connection);
        idle.set(id, kept);
      },
      destroy() {
        open.delete(connection);
        const kept = idle.get(id) ?? [];
        const at = kept.indexOf(connection);
        if (at >= 0) kept.splice(at, 1);
        socket.destroy();
      },
    };
    open.add(connection);
    return connection;
  };

  return {
    take(place, reader) {
      const id = `${place.isSecure} ${place.hostname} ${place.port}`;
      const now = systemClock.now();
      const kept = idle.get(id) ?? [];
      while (kept.length > 0 && kept[0]!.idleUntil <= now) kept.shift()!.destroy();
      const connection = kept.pop() ?? connect(place, id);
      connection.serve(reader);
      return connection;
    },
    reuse(used) {
      if (!(used instanceof ArrayBuffer)) return;
      // Whoever holds it still finds it empty, and not with the bytes of another.
      const isSpare = used.byteLength === readBytes && spare.length < mostSpare;
      const moved = isSpare ? used.transfer() : used.transfer(0);
      if (isSpare) spare.push(moved);
    },
    destroy() {
      for (const connection of open) connection.destroy();
    },
  };
}
