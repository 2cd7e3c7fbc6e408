import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PutBody, PutOptions } from '../../lib/client/put.ts';
import { createMemoryFleet, type MemoryFleet } from '../../lib/testing.ts';

/** What a program gives by mistake, that no type checker saw: it is refused, and what is there stays. */
let fleet: MemoryFleet;

beforeAll(async () => {
  fleet = await createMemoryFleet();
  await fleet.holdfast.put('kept', 'content');
});
afterAll(() => fleet.close());

const contentNow = async () => text((await fleet.holdfast.get('kept'))!.body);

/** The error of a put that must change nothing. */
async function refused(body: unknown, options?: unknown): Promise<unknown> {
  const error = await fleet.holdfast
    .put('kept', body as PutBody, options as PutOptions)
    .catch((caught: unknown) => caught);
  expect(await contentNow()).toBe('content');
  return error;
}

describe('content that is none', () => {
  test('a stream that was read to its end, or destroyed, is not taken for empty content', async () => {
    const read = Readable.from(['a']);
    await fleet.holdfast.put('first', read);
    const destroyed = Readable.from(['a']).destroy();
    const web = new Blob(['a']).stream();
    await text(web);
    for (const stream of [read, destroyed, web])
      expect(await refused(stream)).toMatchObject({
        kind: 'bad-body',
        message: expect.stringContaining('a stream that was read, or ended, before'),
      });
  });

  test('the body of a get is read once: a second reading throws, and puts nothing', async () => {
    for (const options of [{}, { range: [0, 2] as const }]) {
      const { body } = (await fleet.holdfast.get('kept', options))!;
      await text(body);
      const again = { kind: 'bad-body', message: 'The content of "kept" was read before: get it again' };
      await expect(text(body)).rejects.toMatchObject(again);
      expect(await refused(body)).toMatchObject(again);
    }
    const twice = fleet.holdfast.read('kept', async ({ body }) => [await text(body), await text(body)]);
    await expect(twice).rejects.toMatchObject({ kind: 'bad-body' });
  });

  test.each([
    ['nothing', () => undefined],
    ['a promise', async () => Readable.from(['abc'])],
    ['an array', () => ['abc']],
  ])('`open` that gives %s is named', async (_what, open) => {
    expect(await refused({ sizeBytes: 3, open })).toMatchObject({
      kind: 'bad-body',
      message: expect.stringContaining('its content is what `open` gave, which is no stream'),
    });
  });

  test('content that is another at its second reading is refused as content', async () => {
    const once = Readable.from(['abc']);
    const changing = ['abc', 'abd', 'abe', 'abf'].values();
    for (const open of [() => once, () => Readable.from([changing.next().value!])])
      expect(await refused({ sizeBytes: 3, open })).toMatchObject({
        kind: 'bad-body',
        message: expect.stringMatching(/^Cannot put "kept": it was read again, and differs: /),
      });
  });
});

test.each([
  ['a time limit that is none', { timeoutMs: Number.NaN }, 'bad-option', 'within NaN ms: timeoutMs is 1 to 2147483647'],
  ['no time', { timeoutMs: 0 }, 'bad-option', 'within 0 ms'],
  ['endless time', { timeoutMs: Number.POSITIVE_INFINITY }, 'bad-option', 'within Infinity ms'],
  ['a header that is no text', { headers: { contentType: 5 } }, 'bad-metadata', 'the header "contentType" is no text'],
  ['a header by another name', { headers: { 'content-type': 'x' } }, 'bad-metadata', '"content-type" is none of the'],
])('an option is refused that is %s', async (_what, options, kind, part) => {
  expect(await refused('other', options)).toMatchObject({ kind, message: expect.stringContaining(part) });
});

test('a prefix that is no text is refused', async () => {
  for (const [prefix, what] of [
    [null, 'null'],
    [5, 'number'],
  ]) {
    const listing = fleet.holdfast.list(prefix as unknown as string)[Symbol.asyncIterator]();
    await expect(listing.next()).rejects.toMatchObject({
      kind: 'bad-key',
      message: `A prefix must be a string; this one is ${what}`,
    });
  }
});
