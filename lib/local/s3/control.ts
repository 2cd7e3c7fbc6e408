import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { assertFaultRule } from './fault-rule.ts';
import type { FaultRule, Faults } from './faults.ts';
import { LOCALHOST, listen } from './listen.ts';
import type { RequestLog } from './request-log.ts';

export interface ControlDeps {
  faults: Faults;
  requests: RequestLog;
  port: number;
}

export interface ControlServer {
  endpoint: string;
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 64 * 1024;

/**
 * Lets another process on this machine set faults, in JSON:
 * `POST /faults` adds a rule and answers `{"id"}`, `GET /faults` lists them,
 * `DELETE /faults/<id>` and `DELETE /faults` clear, `GET /requests` counts
 * requests by operation, `DELETE /requests` starts that count again.
 */
export async function createControlServer({ faults, requests, port }: ControlDeps): Promise<ControlServer> {
  const answer = async (raw: IncomingMessage): Promise<{ status: number; body: unknown }> => {
    const path = (raw.url ?? '/').replace(/\?.*$/, '');
    const id = path.startsWith('/faults/') ? decodeURIComponent(path.slice('/faults/'.length)) : undefined;
    if (id !== undefined && raw.method === 'DELETE') {
      if (!faults.list().some((rule) => rule.id === id))
        return { status: 404, body: { error: `There is no fault "${id}".` } };
      faults.clear(id);
      return { status: 200, body: {} };
    }
    switch (`${raw.method} ${path}`) {
      case 'POST /faults': {
        const rule: unknown = JSON.parse(await readText(raw));
        assertFaultRule(rule);
        return { status: 200, body: { id: faults.add(rule satisfies FaultRule) } };
      }
      case 'GET /faults':
        return { status: 200, body: faults.list() };
      case 'DELETE /faults':
        faults.clear();
        return { status: 200, body: {} };
      case 'GET /requests':
        return { status: 200, body: requests.byOperation() };
      case 'DELETE /requests':
        requests.clear();
        return { status: 200, body: {} };
      default:
        return { status: 404, body: { error: `There is no ${raw.method} ${path}.` } };
    }
  };
  const handle = async (raw: IncomingMessage, response: ServerResponse) => {
    const { status, body } = await answer(raw).catch((error: unknown) => ({
      status: 400,
      body: { error: String(error) },
    }));
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
  };
  const http = createServer((raw, response) => void handle(raw, response));
  const chosen = await listen(http, port);
  return {
    endpoint: `http://${LOCALHOST}:${chosen}`,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}

async function readText(raw: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of raw.setEncoding('utf8') as AsyncIterable<string>) {
    text += piece;
    if (text.length > MAX_BODY_BYTES) throw new Error('The request is too big.');
  }
  return text;
}
