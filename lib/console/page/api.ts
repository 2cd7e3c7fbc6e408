import { signal } from '@preact/signals';
import type { ActionAnswer, ActionName, Actions, Overview } from '../protocol.ts';

/** In the address that was printed; every request shows it. */
const token = new URLSearchParams(location.search).get('token') ?? '';

/** What is known of the fleet; null before the first look. */
export const overview = signal<Overview | null>(null);

/** Why nothing is known of the fleet yet. */
export const problem = signal<string | null>(null);

/** `lost` the browser tries again by itself · `ended` there is no such console any more. */
type ConnectionState = 'connecting' | 'live' | 'lost' | 'ended';

/** Whether what is shown is kept up to date. */
export const connection = signal<ConnectionState>('connecting');

/** For how many seconds nothing was heard, as far as that is more than a moment. */
export const silence = signal(0);

/** What one tab tells the others. */
type Told =
  | { readonly kind: 'overview'; readonly overview: Overview }
  | { readonly kind: 'problem'; readonly sentence: string }
  | { readonly kind: 'connection'; readonly state: ConnectionState }
  /** By a tab that was opened just now. */
  | { readonly kind: 'what-is-known' };

/**
 * Keeps the overview up to date. A browser opens six connections to one host and no more, and a stream holds one of them: so one
 * tab has the stream and tells the others, and the next tab takes it over when that one is closed.
 */
export function follow(): void {
  const name = `holdfast ${token}`;
  const channel = new BroadcastChannel(name);
  let heardAt = performance.now();
  const take = (told: Told) => {
    heardAt = performance.now();
    silence.value = 0;
    if (told.kind === 'connection') connection.value = told.state;
    if (told.kind === 'problem') problem.value = told.sentence;
    if (told.kind !== 'overview') return;
    overview.value = told.overview;
    connection.value = 'live';
  };
  const tell = (told: Told) => {
    take(told);
    channel.postMessage(told);
  };
  let own: EventSource | undefined;
  channel.onmessage = ({ data }: MessageEvent<Told>) => {
    if (data.kind !== 'what-is-known') take(data);
    else if (own !== undefined && overview.value !== null)
      channel.postMessage({ kind: 'overview', overview: overview.value } satisfies Told);
  };
  channel.postMessage({ kind: 'what-is-known' } satisfies Told);
  const { locks } = navigator;
  const begin = () => {
    own = stream(tell);
    // It is given back by the end of the tab, or taken away by another one.
    return new Promise<never>(() => {});
  };
  const end = () => {
    own?.close();
    own = undefined;
  };
  const queueUp = (): Promise<void> =>
    locks.request(name, begin).catch(() => {
      end();
      return queueUp();
    });
  void queueUp();
  setInterval(() => {
    silence.value = Math.round((performance.now() - heardAt) / 1000);
    // The tab that has the stream may sleep, as browsers let tabs do that nobody looks at.
    const isAsleep = silence.value > mostSilence && document.visibilityState === 'visible' && own === undefined;
    if (isAsleep) void locks.request(name, { steal: true }, begin).catch(end);
  }, 5_000);
}

/** The console tells something every five seconds, unless its tables do not answer. */
export const mostSilence = 15;

/** The browser comes back by itself when the connection is lost, but not once it was refused. */
function stream(tell: (told: Told) => void): EventSource {
  const events = new EventSource(`/api/events?token=${encodeURIComponent(token)}`);
  events.onmessage = ({ data }) => tell({ kind: 'overview', overview: JSON.parse(data as string) as Overview });
  events.addEventListener('problem', ({ data }) =>
    tell({ kind: 'problem', sentence: JSON.parse(data as string) as string }),
  );
  events.onerror = () =>
    tell({ kind: 'connection', state: events.readyState === EventSource.CLOSED ? 'ended' : 'lost' });
  return events;
}

/** Sends a request to the console; `unanswered` is said where no answer comes. */
async function sent(path: string, init: RequestInit, unanswered: string): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch {
    throw new Error(unanswered);
  }
}

/** What an answer that is none says. */
async function answered<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  const text = await response.text();
  let sentence = text;
  try {
    sentence = (JSON.parse(text) as { error: string }).error;
  } catch {}
  throw new Error(sentence);
}

const headers = { authorization: `Bearer ${token}` };

export async function ask<T>(path: string): Promise<T> {
  return answered(await sent(path, { headers }, 'The console does not answer: has it ended?'));
}

export async function act<Name extends ActionName>(name: Name, asked: Actions[Name]): Promise<ActionAnswer> {
  const request = {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  };
  // Whoever hears nothing does not know whether it was done.
  const unanswered = 'The console did not answer: has it ended? What was asked for may have been done all the same';
  return answered(await sent(`/api/actions/${name}`, request, unanswered));
}

export function downloadHref(key: string): string {
  return `/api/download?${new URLSearchParams({ key, token })}`;
}

export function pathWith(path: string, asked: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(asked).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}
