import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listenOnLoopback } from '../support/loopback.ts';

/** What the server does with one request: an answer, nothing at all, or a broken connection. */
export type Reply = { readonly status?: number; readonly body: object } | 'hang' | 'reset';

export interface ReceivedRequest {
  /** The operation, e.g. `PutItem`. */
  readonly operation: string;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

export interface ScriptedServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly received: ReceivedRequest[];
}

/** An HTTP server that answers DynamoDB requests as told, for what no real one does on demand. */
export async function scriptedDynamo(
  reply: (request: ReceivedRequest, nth: number) => Reply | Promise<Reply>,
): Promise<ScriptedServer> {
  const received: ReceivedRequest[] = [];
  const server = createServer(async (request, response) => {
    const text = await textOf(request);
    const operation = String(request.headers['x-amz-target']).split('.').at(-1)!;
    const one = { operation, body: JSON.parse(text) as Record<string, unknown>, text };
    received.push(one);
    send(request, response, await reply(one, received.length));
  });
  const endpoint = await listenOnLoopback(server);
  return {
    endpoint,
    received,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An error as DynamoDB words it. */
export function errorReply(name: string, more: object = {}, status = 400): Reply {
  return { status, body: { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message: `said ${name}`, ...more } };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function send(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  if (reply === 'hang') return;
  if (reply === 'reset') {
    request.socket.resetAndDestroy();
    return;
  }
  response.writeHead(reply.status ?? 200, { 'content-type': 'application/x-amz-json-1.0' });
  response.end(JSON.stringify(reply.body));
}
