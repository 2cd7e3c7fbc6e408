import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient } from '../client/client.ts';
import { admit } from './admission.ts';
import type { ConsoleDeps } from './deps.ts';
import { createJobs } from './jobs.ts';
import { pageFiles } from './page-files.ts';
import { createReader } from './readings.ts';
import { pageFile, pageHtml, reply, replyFile, replyJson, statusOf } from './replies.ts';
import { createRoutes } from './routes.ts';
import { createWatch } from './watch.ts';

export interface ConsoleOptions {
  /** [0] any free one. */
  readonly port?: number;
  /** Nothing can be asked for that changes anything [no]. */
  readonly isReadOnly?: boolean;
}

/** A console that is being served, on this machine alone. */
export interface Console {
  /** With its token: whoever has it may do what the process may. */
  readonly url: string;
  readonly port: number;
  /** Ends what was asked for after what is in flight, and closes every connection. */
  close(): Promise<void>;
}

/**
 * Serves the console's page on 127.0.0.1, over the process's own tables and with its credentials. Every request must show the
 * token and come from this page. What it shows comes from the ledger, one query every five seconds while a page is open, and
 * none while none is; what it does are operations, as the command line does them.
 */
export async function startConsole(deps: ConsoleDeps, options: ConsoleOptions = {}): Promise<Console> {
  const { isReadOnly = false } = options;
  const token = randomBytes(24).toString('base64url');
  const client = createClient(deps);
  const files = await pageFiles();
  const statics = new Map([
    ['/', pageFile('text/html; charset=utf-8', pageHtml(token))],
    ['/page.js', pageFile('text/javascript; charset=utf-8', files.script)],
    ['/page.css', pageFile('text/css; charset=utf-8', files.style)],
  ]);
  const jobs = createJobs({ ...deps, changed: () => watch.publish() });
  const watch = createWatch({ ...deps, reader: createReader(deps), jobs: jobs.list }, { isReadOnly });
  const routes = createRoutes({ deps, client, watch, jobs, isReadOnly });
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const url = addressOf(request.url);
    const { headers, method } = request;
    const admission = admit({ headers, token: url?.searchParams.get('token') ?? null }, { token, port });
    if (admission.outcome === 'refused') return refuse(response, admission.status, admission.sentence);
    if (url === undefined) return refuse(response, 400, 'That is no address of this console');
    const file = method === 'GET' ? statics.get(url.pathname) : undefined;
    if (file !== undefined) return replyFile(response, file);
    return routes(request, response, url);
  };
  /** What is being answered: an action goes on when nobody waits for its answer any more. */
  const answering = new Set<Promise<void>>();
  const server = createServer((request, response) => {
    const answer = serve(request, response)
      .catch((error: Error) => {
        // An answer that has begun cannot say what went wrong: it is cut short, so that nobody takes it for whole.
        if (response.headersSent) response.destroy();
        else replyJson(response, statusOf(error), { error: error.message });
      })
      .finally(() => answering.delete(answer));
    answering.add(answer);
  });
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/?token=${token}`,
    port,
    async close() {
      // From here on nothing is begun: what came in later would be cut short by the end of this process.
      const isClosed = new Promise<void>((resolve) => server.close(() => resolve()));
      await jobs.close();
      await watch.close();
      server.closeAllConnections();
      await isClosed;
      await Promise.all(answering);
      await client.close();
    },
  };
}

/** A path, as every page asks for one; undefined for anything else that may stand in a request's first line. */
function addressOf(target: string | undefined): URL | undefined {
  const base = 'http://127.0.0.1';
  return target?.startsWith('/') && URL.canParse(base + target) ? new URL(base + target) : undefined;
}

/** For a person who opened an old address, and for programs. */
function refuse(response: ServerResponse, status: number, sentence: string): void {
  reply(response, status, 'text/plain; charset=utf-8', `${sentence}\n`);
}
