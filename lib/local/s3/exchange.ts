import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../base/clock.ts';
import type { Context } from './context.ts';
import { dispatch } from './dispatch.ts';
import { forgetIgnoredFeatures, strikeOnEntry } from './entry-faults.ts';
import { S3Error } from './errors.ts';
import type { FaultEngine, RequestFaults } from './faults.ts';
import { keyAsTaken } from './key-faults.ts';
import { openPayload } from './payload.ts';
import { discardReply, errorReply, type Reply, sendReply } from './reply.ts';
import type { createRequestLog, RequestRecord } from './request-log.ts';
import { parseRequest, type S3Request } from './s3-request.ts';
import { authenticate, type S3Credential } from './signature.ts';
import type { Store } from './store.ts';

export interface ExchangeDeps {
  store: Store;
  faults: FaultEngine;
  requests: ReturnType<typeof createRequestLog>;
  clock: Clock;
  credentials: readonly S3Credential[];
  maxClockSkewMs: number;
  minPartBytes: number;
}

type Exchange = (raw: IncomingMessage, response: ServerResponse, expectsContinue: boolean) => Promise<void>;

/** One request and its answer, from the wire to the log. Never rejects. */
export function createExchange(deps: ExchangeDeps): Exchange {
  return async (raw, response, expectsContinue) => {
    const record: RequestRecord = { operation: 'Unknown', bucket: '', key: '', status: 0, bytesIn: 0, bytesOut: 0 };
    const requestId = deps.store.ids.next();
    const gone = new AbortController();
    response.on('error', () => {});
    raw.on('error', () => {});
    response.on('close', () => gone.abort(new Error('The connection is closed.')));
    let request: S3Request | undefined;
    let faults: RequestFaults | undefined;
    let outcome: Reply | 'cut';
    try {
      request = parseRequest(raw, expectsContinue);
      Object.assign(record, { operation: request.operation, bucket: request.bucket, key: request.key });
      faults = deps.faults.forRequest(request);
      const entry = await strikeOnEntry({ request, requestId, faults, clock: deps.clock, signal: gone.signal });
      outcome = entry === 'go-on' ? await perform(deps, request, faults, response, record) : entry;
    } catch (error) {
      outcome = gone.signal.aborted ? 'cut' : failure(error, request?.path ?? raw.url ?? '/', requestId);
    }
    if (outcome === 'cut' || gone.signal.aborted) {
      if (outcome !== 'cut') discardReply(outcome);
      // The request itself would leave the socket open once its body has been read.
      raw.socket.destroy();
    } else {
      response.setHeader('x-amz-request-id', requestId);
      response.setHeader('x-amz-id-2', requestId);
      response.setHeader('server', 'Holdfast');
      response.sendDate = false;
      response.setHeader('date', new Date(deps.clock.now()).toUTCString());
      // A client still waiting for `100 Continue` may or may not send its body now: only a new connection is unambiguous.
      if (expectsContinue && record.bytesIn === 0) response.setHeader('connection', 'close');
      record.status = outcome.status;
      record.bytesOut = await send(response, faults, raw.method === 'HEAD', outcome);
      // What is left of a refused body is read and dropped, so that the client gets to read the answer.
      raw.resume();
    }
    deps.requests.add(record);
  };
}

async function perform(
  deps: ExchangeDeps,
  request: S3Request,
  faults: RequestFaults,
  response: ServerResponse,
  record: RequestRecord,
): Promise<Reply | 'cut'> {
  const { credentials, maxClockSkewMs, store, clock, minPartBytes } = deps;
  const auth = authenticate(request, { credentials, nowMs: clock.now(), maxClockSkewMs });
  const { ignoreChecksums } = forgetIgnoredFeatures(request, faults);
  const context: Context = {
    request: { ...request, key: keyAsTaken(request.key, faults) },
    credential: auth.credential,
    store,
    clock,
    faults,
    minPartBytes,
    payload: (about = 'object') =>
      openPayload(request, auth, {
        onStart() {
          if (request.expectsContinue && !faults.take('ignore-expect')) response.writeContinue();
        },
        onBytes(count) {
          record.bytesIn += count;
        },
        ignoreChecksums: ignoreChecksums || about === 'document',
        keepFraming: about === 'object' && faults.take('store-chunk-framing') !== undefined,
      }),
  };
  const reply = await dispatch(context);
  changeHeaders(reply, context);
  if (!faults.take('lose-answer')) return reply;
  discardReply(reply);
  return 'cut';
}

/** What a fault says of an object otherwise than it is. */
function changeHeaders({ headers }: Reply, { request, store, faults }: Context): void {
  if (request.operation === 'PutObject' && faults.take('name-versions')) headers['x-amz-version-id'] = store.ids.next();
  const type = headers['content-type'];
  if (type !== undefined && /^(Get|Head)Object$/.test(request.operation) && faults.take('fold-headers'))
    headers['content-type'] = type.replaceAll('; ', ';');
  const marked = Object.keys(headers).filter((name) => name.startsWith('x-amz-meta-'));
  if (marked.length > 0 && faults.take('forget-metadata')) for (const name of marked) delete headers[name];
}

function failure(error: unknown, resource: string, requestId: string): Reply {
  const known =
    error instanceof S3Error ? error : new S3Error('InternalError', error instanceof Error ? error.message : '');
  return errorReply(known, resource, requestId);
}

async function send(
  response: ServerResponse,
  faults: RequestFaults | undefined,
  isHead: boolean,
  reply: Reply,
): Promise<number> {
  try {
    return await sendReply({ response, faults, isHead }, reply);
  } catch {
    // The head may be out already: nothing but a cut tells the client that this answer is not whole.
    response.destroy();
    return 0;
  }
}
