import { signal } from '@preact/signals';
import type { ActionAnswer, ActionName, Actions, Overview } from '../protocol.ts';

/** In the address that was printed; every request shows it. */
const token = new URLSearchParams(location.search).get('token') ?? '';

/** What is known of the fleet; null before the first look. */
export const overview = signal<Overview | null>(null);

/** Whether what is shown is kept up to date. */
export const connection = signal<'connecting' | 'live' | 'lost'>('connecting');

/** Why nothing is known of the fleet yet. */
export const problem = signal<string | null>(null);

/** Keeps the overview up to date; the browser comes back by itself when the connection is lost. */
export function follow(): void {
  const events = new EventSource(`/api/events?token=${encodeURIComponent(token)}`);
  events.onmessage = ({ data }) => {
    overview.value = JSON.parse(data as string) as Overview;
    connection.value = 'live';
  };
  events.addEventListener('problem', ({ data }) => {
    problem.value = JSON.parse(data as string) as string;
  });
  events.onerror = () => {
    connection.value = 'lost';
  };
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
  return answered(await fetch(path, { headers }));
}

export async function act<Name extends ActionName>(name: Name, asked: Actions[Name]): Promise<ActionAnswer> {
  const response = await fetch(`/api/actions/${name}`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  });
  return answered(response);
}

export function downloadHref(key: string): string {
  return `/api/download?${new URLSearchParams({ key, token })}`;
}

export function pathWith(path: string, asked: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(asked).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}
