import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { defined } from '../base/defined.ts';
import type { Holdfast } from '../client/client.ts';
import { planDrain } from '../operations/drain-plan.ts';
import { warningsOfDrain } from '../operations/drain-warnings.ts';
import { sayDrainWarning } from '../operations/say-drain.ts';
import { belongsToDeployment, parametersInForce } from '../operations/settings.ts';
import { queueStates } from '../store/model.ts';
import { act } from './actions.ts';
import { type ConsoleDeps, fleetNow } from './deps.ts';
import { fleetHistory } from './history.ts';
import type { Jobs } from './jobs.ts';
import { findObjects, listObjects, listQueue, type ObjectQuery, type QueueQuery, type TransfersSeen } from './lists.ts';
import { objectDetail } from './object-detail.ts';
import { attentionNames, type DrainPlanAnswer, type ParameterLine } from './protocol.ts';
import { head, replyJson, WrongQuestion } from './replies.ts';
import type { Watch } from './watch.ts';

export interface RoutesDeps {
  readonly deps: ConsoleDeps;
  readonly client: Holdfast;
  readonly watch: Watch;
  readonly jobs: Jobs;
  readonly isReadOnly: boolean;
}

/** Answers one request that was let in. */
export type Routes = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>;

type Ask = (asked: URLSearchParams) => Promise<unknown>;

export function createRoutes(given: RoutesDeps): Routes {
  const { deps, client, watch } = given;
  const seen: TransfersSeen = new Map();
  const text = (asked: URLSearchParams, name: string) => asked.get(name) ?? '';
  const documents: Readonly<Record<string, Ask>> = {
    '/api/objects': (asked) => listObjects(deps, objectQuery(asked)),
    '/api/find': (asked) => findObjects(deps, { prefix: text(asked, 'prefix'), ...fieldsOf(asked, ['after']) }),
    '/api/object': (asked) => objectDetail(deps, text(asked, 'key')),
    '/api/queue': (asked) => listQueue(deps, queueQuery(asked), seen),
    '/api/settings': () => settings(deps),
    '/api/history': () => fleetHistory(deps),
    '/api/waiting': (asked) => client.undeletable(text(asked, 'key')),
    '/api/drain-plan': (asked) => drainPlan(deps, text(asked, 'backend')),
  };
  return async (request, response, url) => {
    const { pathname, searchParams } = url;
    if (request.method === 'POST' && pathname.startsWith('/api/actions/'))
      return action(given, pathname.slice('/api/actions/'.length), request, response);
    if (request.method !== 'GET') return replyJson(response, 405, { error: 'Only GET and POST are known here' });
    if (pathname === '/api/events') return events(watch, response);
    if (pathname === '/api/download') return download(client, text(searchParams, 'key'), response);
    const ask = Object.hasOwn(documents, pathname) ? documents[pathname] : undefined;
    if (ask === undefined) return replyJson(response, 404, { error: `There is nothing at "${pathname}"` });
    return replyJson(response, 200, await ask(searchParams));
  };
}

/** Asked for what there is none of, nobody is to be shown a list of something else. */
function objectQuery(asked: URLSearchParams): ObjectQuery {
  const { which, copies, ...others } = fieldsOf(asked, ['which', 'copies', 'backend', 'placement', 'after']);
  const known = attentionNames.find((name) => name === which);
  if (which !== undefined && known === undefined) throw new WrongQuestion(`There is no list "${which}" of objects`);
  if (copies !== undefined && !/^\d$/.test(copies)) throw new WrongQuestion(`"${copies}" is no number of copies`);
  return { ...others, ...defined({ which: known, copies: copies === undefined ? undefined : Number(copies) }) };
}

function queueQuery(asked: URLSearchParams): QueueQuery {
  const { state, ...others } = fieldsOf(asked, ['state', 'backend', 'after']);
  const known = queueStates.find((one) => one === state);
  if (state !== undefined && known === undefined) throw new WrongQuestion(`The queue has no state "${state}"`);
  return { ...others, ...defined({ state: known }) };
}

/** Those that were given. */
function fieldsOf<Name extends string>(
  asked: URLSearchParams,
  names: readonly Name[],
): { readonly [N in Name]?: string } {
  const given = names.flatMap((name) => {
    const value = asked.get(name);
    return value === null || value === '' ? [] : [[name, value] as const];
  });
  return Object.fromEntries(given) as { readonly [N in Name]?: string };
}

async function settings(deps: ConsoleDeps): Promise<ParameterLine[]> {
  const { fleet } = await fleetNow(deps);
  return parametersInForce(deps.env, fleet.settings).map((one) => ({
    ...one,
    mayBeSet: !belongsToDeployment(one.name),
  }));
}

async function drainPlan(deps: ConsoleDeps, backend: string): Promise<DrainPlanAnswer> {
  const { fleet, params, standing } = await fleetNow(deps);
  const warnings = warningsOfDrain(fleet, backend, deps.clock.now(), params.unhealthyAfterMs);
  return {
    ...planDrain(fleet, backend, standing),
    warnings: warnings.map((warning) => sayDrainWarning(backend, warning)),
  };
}

/** Server-sent events: the overview, whenever there is a new one. */
async function events(watch: Watch, response: ServerResponse): Promise<void> {
  head(response, 200, { 'content-type': 'text/event-stream' });
  // A browser that lost the connection comes back after so long.
  response.write('retry: 5000\n\n');
  const closed = once(response, 'close');
  const end = await watch.subscribe((news) => {
    // A reader that is too slow has the next one instead.
    if (response.writableNeedDrain) return;
    if (news.outcome === 'seen') response.write(`data: ${JSON.stringify(news.overview)}\n\n`);
    else response.write(`event: problem\ndata: ${JSON.stringify(news.problem)}\n\n`);
  });
  await closed;
  end();
}

/** The content of an object; its last bytes are sent only after the whole was found right. */
async function download(client: Holdfast, key: string, response: ServerResponse): Promise<void> {
  const object = await client.get(key);
  if (object === null) return replyJson(response, 404, { error: `There is no object "${key}"` });
  const name = fileName(key);
  head(response, 200, {
    'content-type': 'application/octet-stream',
    'content-length': String(object.sizeBytes),
    'content-disposition': `attachment; filename*=UTF-8''${name}`,
  });
  // What is cut short on the way is shorter than was said: no browser takes it for whole.
  await pipeline(object.body, response);
}

/** As RFC 5987 has it. */
function fileName(key: string): string {
  const last = key.split('/').at(-1) || 'object';
  return encodeURIComponent(last.toWellFormed()).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Of what an action is asked for. */
const mostBytes = 256 * 1024;

async function action(
  { deps, client, watch, jobs, isReadOnly }: RoutesDeps,
  name: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (isReadOnly)
    return replyJson(response, 403, { error: 'This console only shows: it was started with --read-only' });
  if (request.headers['content-type'] !== 'application/json')
    return replyJson(response, 415, { error: 'An action is asked for in JSON' });
  const asked = await jsonOf(request);
  if (asked === undefined) return replyJson(response, 400, { error: 'What was asked for is no JSON, or too long' });
  const answer = await act({ deps, client, jobs }, name, asked);
  if (answer.outcome === 'unknown') return replyJson(response, 400, { error: answer.sentence });
  if (answer.outcome === 'done') await watch.refresh();
  replyJson(response, 200, answer);
}

async function jsonOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Read to its end all the same: whoever is not listened to does not hear the answer either.
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= mostBytes) chunks.push(chunk);
  }
  if (bytes > mostBytes) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}
