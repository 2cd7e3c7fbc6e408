import { signal } from '@preact/signals';

/** Where in the page somebody is: `#/objects?backend=a` */
export interface Route {
  /** The first part of the path; empty for the overview. */
  readonly view: string;
  /** What follows it. */
  readonly name: string;
  readonly asked: URLSearchParams;
}

export const route = signal<Route>(routeOf(location.hash));

export function keepRoute(): void {
  addEventListener('hashchange', () => {
    route.value = routeOf(location.hash);
    // As after any other link: the reader, and the keyboard, are at the top of what is new.
    document.getElementById('main')?.focus();
    scrollTo(0, 0);
  });
}

function routeOf(hash: string): Route {
  const [path = '', asked = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const at = path.indexOf('/');
  const [view, name] = at < 0 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)];
  return { view, name: decoded(name), asked: new URLSearchParams(asked) };
}

/** What somebody typed into the address may be no code. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

export function hrefTo(view: string, name?: string, asked: Readonly<Record<string, string>> = {}): string {
  const path = name === undefined ? `#/${view}` : `#/${view}/${encodeURIComponent(name.toWellFormed())}`;
  const query = new URLSearchParams(asked).toString();
  return query === '' ? path : `${path}?${query}`;
}
