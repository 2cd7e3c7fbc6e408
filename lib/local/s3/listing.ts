import { S3Error } from './errors.ts';
import type { RequestFaults } from './faults.ts';
import type { ObjectVersion } from './object-version.ts';
import type { StoredBucket } from './store.ts';

export interface PageInput {
  bucket: StoredBucket;
  prefix: string;
  delimiter: string;
  /** Begin after this key; with `skipsGroup`, where it is a common prefix, after all that it stands for. */
  after: { key: string; skipsGroup: boolean };
  maxKeys: number;
}

export interface Page {
  objects: ObjectVersion[];
  /** Common prefixes. */
  groups: string[];
  /** Absent on the last page. */
  next?: { key: string; skipsGroup: boolean };
}

const MAX_KEYS = 1000;

/** One page of current objects in UTF-8 byte order; objects and common prefixes both count towards `maxKeys`. */
export function collectPage({ bucket, prefix, delimiter, after, maxKeys }: PageInput): Page {
  const { keys } = bucket;
  const page: Page = { objects: [], groups: [] };
  if (maxKeys === 0) return page;
  let index = firstIndex(bucket, prefix, delimiter, after);
  let last: Page['next'];
  while (true) {
    const key = keys.at(index);
    if (key === undefined || !key.startsWith(prefix)) return page;
    const version = bucket.current(key);
    if (!version || version.isDeleteMarker) {
      // A file removed by hand leaves the index as it is noticed.
      if (keys.at(index) === key) index++;
      continue;
    }
    if (page.objects.length + page.groups.length === maxKeys) {
      if (last) page.next = last;
      return page;
    }
    const group = groupOf(key, prefix, delimiter);
    if (group === undefined) {
      page.objects.push(version);
      last = { key, skipsGroup: false };
      index++;
    } else {
      page.groups.push(group);
      last = { key: group, skipsGroup: true };
      index = keys.firstBeyondPrefix(group, index);
    }
  }
}

/** The common prefix that stands for a key, if one does. */
export function groupOf(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '') return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

function firstIndex({ keys }: StoredBucket, prefix: string, delimiter: string, after: PageInput['after']): number {
  const fromPrefix = keys.firstFrom(prefix);
  if (after.key === '') return fromPrefix;
  const from = keys.firstFrom(after.key);
  if (
    after.skipsGroup &&
    delimiter !== '' &&
    after.key.startsWith(prefix) &&
    groupOf(after.key, prefix, delimiter) === after.key
  ) {
    return Math.max(fromPrefix, keys.firstBeyondPrefix(after.key, from));
  }
  return Math.max(fromPrefix, keys.at(from) === after.key ? from + 1 : from);
}

export function maxKeysOf(text: string | undefined, name: string): number {
  if (text === undefined || text === '') return MAX_KEYS;
  return Math.min(integerOf(text, name), MAX_KEYS);
}

export function integerOf(text: string, name: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 2 ** 31 - 1) {
    throw new S3Error('InvalidArgument', `Provided ${name} not an integer or within integer range`);
  }
  return Number(text);
}

/** What every listing may be asked for. */
export function listingOf(query: ReadonlyMap<string, string>): { url: boolean; prefix: string; delimiter: string } {
  const url = isUrlEncoded(query);
  return { url, prefix: query.get('prefix') ?? '', delimiter: query.get('delimiter') ?? '' };
}

export function isUrlEncoded(query: ReadonlyMap<string, string>): boolean {
  const type = query.get('encoding-type');
  if (type !== undefined && type !== 'url')
    throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request');
  return type === 'url';
}

/** What a listing says of the form its keys are in. */
export function saidEncoding(url: boolean, faults: RequestFaults): 'url' | undefined {
  return url && !faults.take('hide-encoding') ? 'url' : undefined;
}

/** As `encoding-type=url` has it: like a form, so a space is `+`, with `/` left alone. */
export function encodeField(text: string, url: boolean): string {
  if (!url) return text;
  return encodeURIComponent(text)
    .replace(/[!'()~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+')
    .replaceAll('%2F', '/');
}
