import type { Holdfast, ObjectSummary } from '../client/client.ts';
import { CommandError } from './failure.ts';
import { escaped } from './format.ts';

/** Keys that a person means: all that begin with a text, or those that a pattern matches. */
export interface Selection {
  /** What every one of them begins with. */
  readonly prefix: string;
  /** What their names as files leave out: the folder that was named, or the one that the pattern begins in. */
  readonly folder: string;
  matches(key: string): boolean;
}

const special = /[*?[]/;

export function isPattern(text: string): boolean {
  return special.test(text);
}

/** Everything in a folder: `docs` and `docs/` are the same, and `docs2/x` is not in it; an empty one is all there is. */
export function inFolder(text: string): Selection {
  const prefix = text === '' || text.endsWith('/') ? text : `${text}/`;
  return { prefix, folder: prefix, matches: () => true };
}

/** Everything that begins with a text. */
export function beginningWith(prefix: string): Selection {
  return { prefix, folder: prefix.slice(0, prefix.lastIndexOf('/') + 1), matches: () => true };
}

/** `*` stands for anything but a slash, `**` for anything, `?` for one character, `[a-z]` and `[!a-z]` for one of some. */
export function matching(pattern: string): Selection {
  const prefix = pattern.slice(0, pattern.search(special));
  const expression = expressionOf(pattern);
  return { prefix, folder: prefix.slice(0, prefix.lastIndexOf('/') + 1), matches: (key) => expression.test(key) };
}

function expressionOf(pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const rest = pattern.slice(at);
    const some = /^\[(!?)([^\]]+)\]/.exec(rest);
    if (rest.startsWith('**')) {
      source += '.*';
      at += 1;
    } else if (rest[0] === '*') source += '[^/]*';
    else if (rest[0] === '?') source += '[^/]';
    else if (some !== null) {
      source += `[${some[1] === '' ? '' : '^'}${some[2]!.replace(/[\\^\]]/g, '\\$&')}]`;
      at += some[0].length - 1;
    } else source += rest[0]!.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  }
  return new RegExp(`^${source}$`, 's');
}

/** The objects of a selection, in key order. */
export async function* select(client: Holdfast, { prefix, matches }: Selection): AsyncGenerator<ObjectSummary> {
  for await (const object of client.list(prefix)) if (matches(object.key)) yield object;
}

/** Throws where a person means nothing that is there, before anything is made for it. */
export async function assertSome(client: Holdfast, selection: Selection, asked: string): Promise<void> {
  for await (const _one of select(client, selection)) return;
  throw noneMatches(asked);
}

export function noneMatches(asked: string): CommandError {
  return new CommandError('not-found', `No object is named by "${escaped(asked)}"`);
}

/** How many there are, counted beside the work. */
export async function totalOf(client: Holdfast, selection: Selection): Promise<{ count: number; bytes: number }> {
  let count = 0;
  let bytes = 0;
  for await (const { sizeBytes } of select(client, selection)) {
    count += 1;
    bytes += sizeBytes;
  }
  return { count, bytes };
}
