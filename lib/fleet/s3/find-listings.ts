import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import type { Capabilities, ListFrom } from '../backend.ts';
import { backendOn } from '../s3-backend.ts';
import { type Check, found, keyOf, refusal, small } from './check.ts';

type Listings = Pick<
  Capabilities,
  'listsInByteOrder' | 'startsAfterKeys' | 'listsHeadEtags' | 'keepsKeys' | 'pagesWhole'
>;

/** As objects are named; of some a server that encodes, composes or trims names would make others. */
const orderedNames = ['a', 'a-b', 'a/b', 'aB', 'ab', 'a b+%41 ', '\u00e9', 'e\u0301', '\uff5e', '\u{1f680}'];

/**
 * Whether listings come in the order of UTF-8 bytes, go on behind any key, and say of objects what a HEAD says. Keys that the
 * backend does not take are left out: what others it has is what is asked.
 */
export async function findListings(check: Check): Promise<Listings> {
  const { backend, signal } = check;
  const taken: string[] = [];
  for (const name of orderedNames) {
    const storageKey = keyOf(check, `order/${name}`);
    if ((await refusal(check, () => backend.put(small(storageKey, 'x'), signal))) === undefined) taken.push(storageKey);
    else check.written.delete(storageKey);
  }
  const wanted = taken.sort(compareUtf8);
  const prefix = `${check.folder}order/`;
  const page = await found(check, async () => (await backend.list({ prefix }, signal)).items);
  const none = { listsInByteOrder: false, startsAfterKeys: false, listsHeadEtags: false };
  if (page === false) return { ...none, pagesWhole: false };
  const listedKeys = page.map(({ storageKey }) => storageKey);
  const isComplete = isSame(listedKeys, wanted);
  const behind = await found(check, () => behindEach(check, prefix, wanted));
  const described = await found(check, () => backend.head(wanted[0]!, signal));
  const listed = page.find(({ storageKey }) => storageKey === wanted[0]);
  const order = { listsInByteOrder: isComplete, startsAfterKeys: behind !== false && isSame(behind, wanted) };
  const paged = await found(check, () => pagedThrough(check, order, prefix, wanted.length));
  return {
    ...order,
    keepsKeys: isSame([...listedKeys].sort(compareUtf8), wanted),
    pagesWhole: paged !== false && isSame(paged.sort(compareUtf8), [...listedKeys].sort(compareUtf8)),
    listsHeadEtags:
      described !== false && described?.etag === listed?.etag && described?.sizeBytes === listed?.sizeBytes,
  };
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((key, i) => key === others[i]);
}

/** The keys of one page after the other, as whoever lists this backend will follow them; pages that do not end are left. */
async function pagedThrough({ s3, signal }: Check, order: Capabilities, prefix: string, most: number) {
  const backend = backendOn({ ...s3, capabilities: order });
  const seen: string[] = [];
  let from: ListFrom | undefined;
  for (let pages = 0; pages <= most; pages += 1) {
    const page = await backend.list({ prefix, limit: 3, ...defined({ from }) }, signal);
    seen.push(...page.items.map(({ storageKey }) => storageKey));
    from = page.next;
    if (from === undefined) break;
  }
  return seen;
}

/** The key that a listing begins with behind nothing, behind the first key, behind the second, and so on. */
async function behindEach({ backend, signal }: Check, prefix: string, keys: readonly string[]): Promise<string[]> {
  const seen: string[] = [];
  for (const afterKey of [undefined, ...keys]) {
    const from = afterKey === undefined ? undefined : { afterKey };
    const { items } = await backend.list({ prefix, limit: 1, ...defined({ from }) }, signal);
    if (items[0] !== undefined) seen.push(items[0].storageKey);
  }
  return seen;
}
