import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import { createControlServer } from './control.ts';
import { createExchange } from './exchange.ts';
import { createFaults, type Faults } from './faults.ts';
import { LOCALHOST, listen } from './listen.ts';
import { createRequestLog, type RequestLog } from './request-log.ts';
import type { S3Credential } from './signature.ts';
import { openStore } from './store.ts';

export interface S3ServerOptions {
  /** Files on disk go here; `disk-layout.ts` says how. One server at a time. */
  dir: string;
  /** Created at start where missing. */
  buckets?: string[];
  /** Absent or 0: any free port. */
  port?: number;
  credentials: S3Credential[];
  clock: Clock;
  /** How far a request's time may be off [15 min]; Infinity under a simulated clock. */
  maxClockSkewMs?: number;
  /** Smallest part but for the last [5 MiB]. */
  minPartBytes?: number;
  /** Port for telling the server to misbehave from another process; no such port when absent, any free one when 0. */
  controlPort?: number;
}

export interface S3Server {
  endpoint: string;
  port: number;
  controlEndpoint?: string;
  faults: Faults;
  requests: RequestLog;
  /** File that holds the bytes of an object's current version; throws when there is none. */
  objectPath(bucket: string, key: string): string;
  /** Cuts every connection; resolves when everything has stopped. */
  close(): Promise<void>;
}

const DEFAULT_SKEW_MS = 15 * 60_000;
const DEFAULT_MIN_PART_BYTES = 5 * 1024 * 1024;

/** A small, strict S3 server on 127.0.0.1, path-style, without TLS. */
export async function createS3Server(options: S3ServerOptions): Promise<S3Server> {
  const store = openStore(options.dir, options.clock);
  for (const name of options.buckets ?? []) {
    if (!store.find(name)) store.create(name);
  }
  const faults = createFaults();
  const requests = createRequestLog();
  const exchange = createExchange({
    store,
    faults,
    requests,
    clock: options.clock,
    credentials: options.credentials,
    maxClockSkewMs: options.maxClockSkewMs ?? DEFAULT_SKEW_MS,
    minPartBytes: options.minPartBytes ?? DEFAULT_MIN_PART_BYTES,
  });
  const running = new Set<Promise<void>>();
  const run = (raw: IncomingMessage, response: ServerResponse, expectsContinue: boolean) => {
    const done = exchange(raw, response, expectsContinue).finally(() => running.delete(done));
    running.add(done);
  };
  const sockets = new Set<Socket>();
  // Idle connections stay open: a client that reuses one as we drop it would see a failure that was nobody's wish.
  const http = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 });
  http.on('request', (raw, response) => run(raw, response, false));
  http.on('checkContinue', (raw, response) => run(raw, response, true));
  http.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    else socket.destroy();
  });
  http.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (faults.refusesConnection()) socket.destroy();
  });
  const port = await listen(http, options.port ?? 0).catch((error: unknown) => {
    store.close();
    throw error;
  });
  const control =
    options.controlPort === undefined
      ? undefined
      : await createControlServer({ faults, requests, port: options.controlPort });

  return {
    endpoint: `http://${LOCALHOST}:${port}`,
    port,
    ...defined({ controlEndpoint: control?.endpoint }),
    faults,
    requests,
    objectPath(bucketName, key) {
      const bucket = store.bucket(bucketName);
      const version = bucket.current(key);
      if (!version) throw new Error(`Cannot give the path of "${key}": bucket "${bucketName}" does not hold it.`);
      return bucket.path(version);
    },
    async close() {
      const closed = new Promise((resolve) => http.close(resolve));
      faults.clear();
      for (const socket of sockets) socket.destroy();
      await Promise.all([closed, control?.close(), ...running]);
      store.close();
    },
  };
}
