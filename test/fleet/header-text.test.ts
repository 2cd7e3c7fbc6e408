import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { receivedMetadata, receivedText, sentHeader, sentMetadata, wireText } from '../../lib/fleet/s3/header-text.ts';
import { type S3Kit, startS3 } from './s3-kit.ts';

let kit: S3Kit;
beforeAll(async () => {
  kit = await startS3();
});
afterAll(() => kit.close());

/** What HTTP does to a value: outer blanks go. */
const carried = (characters: string) => characters.replace(/^[ \t]+|[ \t]+$/g, '');

test('every text of user metadata comes back as itself, and is fit for a header', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const wire = wireText(sentMetadata(text));
      expect(/^[\u0020-\u007e\u0080-\u00ff]*$/.test(wire)).toBe(true);
      expect(receivedMetadata(carried(wire))).toBe(text);
    }),
  );
});

test.each([
  '=?UTF-8?B?Y2Fmw6k=?=',
  '=?UTF-8?Q?a?= =?UTF-8?Q?b?=',
  ' a ',
  'a\tb',
  'caf\u00e9',
  'line\r\nbreak',
  '\u3000',
])('%j comes back as itself', (text) => expect(receivedMetadata(carried(wireText(sentMetadata(text))))).toBe(text));

test('a content header comes back with its white space folded', () => {
  const given = ' attachment;\tfilename="\u65e5\u672c.pdf" ';
  expect(receivedText(wireText(sentHeader(given)))).toBe('attachment; filename="\u65e5\u672c.pdf"');
});

test('a backend that checks signatures takes headers, metadata and tags of any text, small or streamed, and gives them back', async () => {
  const backend = kit.connect();
  const given = {
    headers: { contentDisposition: 'attachment; filename="r\u00e9sum\u00e9 \u65e5.pdf"', contentType: 'text/plain' },
    metadata: { name: '\u65e5\u672c', tab: 'a\tb', ends: '\u00e0', blank: ' a ', word: '=?UTF-8?B?Y2Fmw6k=?=' },
    tags: { 'a b+c': 'd & e=\u00e9' },
  };
  for (const sizeBytes of [0, 10, 300_000]) {
    const bytes = Buffer.alloc(sizeBytes, 'x');
    await backend.put({ storageKey: 'k', sizeBytes, body: bodyOf(bytes), ...given });
    expect(await backend.head('k')).toMatchObject({ headers: given.headers, metadata: given.metadata });
    expect(await backend.tags('k')).toEqual(given.tags);
  }
  const { uploadId } = await backend.createUpload({ storageKey: 'm', ...given });
  const part = await backend.uploadPart({
    storageKey: 'm',
    uploadId,
    partNumber: 1,
    sizeBytes: 1,
    body: bodyOf(Buffer.from('x')),
  });
  await backend.completeUpload({ storageKey: 'm', uploadId, parts: [{ partNumber: 1, sizeBytes: 1, ...part }] });
  expect(await backend.head('m')).toMatchObject({ headers: given.headers, metadata: given.metadata });
});
