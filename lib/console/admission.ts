import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What a request must show to be let in. */
export interface Door {
  /** Random, in the address that was printed. */
  readonly token: string;
  readonly port: number;
}

/** Of a request, what is looked at. */
export interface Knock {
  readonly headers: IncomingHttpHeaders;
  /** The token in its address, where it has one. */
  readonly token: string | null;
}

export type Admission =
  | { readonly outcome: 'admitted' }
  | { readonly outcome: 'refused'; readonly status: 401 | 403; readonly sentence: string };

/**
 * Whether a request comes from the page that this console served, or from someone who was given its address. Every page that
 * the browser shows can send requests to this machine, also by a name of its own that leads here: so that neither another host,
 * nor another origin, nor a missing token is let in.
 */
export function admit({ headers, token }: Knock, door: Door): Admission {
  const hosts = [`127.0.0.1:${door.port}`, `localhost:${door.port}`];
  const { host = '', origin } = headers;
  if (!hosts.includes(host))
    return refused(403, `This console is not known as "${host}": use the address that it printed`);
  if (origin !== undefined && origin !== `http://${host}`)
    return refused(403, `"${origin}" may not ask this console for anything`);
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return refused(403, 'Another page may not ask this console for anything: open its address in a tab of its own');
  const given = bearerOf(headers.authorization) ?? token;
  if (given === null || !isSame(given, door.token))
    return refused(401, 'The token is missing, or of another console: use the address that it printed');
  return { outcome: 'admitted' };
}

function refused(status: 401 | 403, sentence: string): Admission {
  return { outcome: 'refused', status, sentence };
}

function bearerOf(authorization: string | undefined): string | null {
  return /^Bearer (\S+)$/.exec(authorization ?? '')?.[1] ?? null;
}

/** In a time that tells nothing of how much of it was right. */
function isSame(given: string, token: string): boolean {
  return timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', token, 'buffer'));
}
