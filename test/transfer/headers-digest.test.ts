import fc from 'fast-check';
import { expect, test } from 'vitest';
import { headersDigest, headersProblem } from '../../lib/transfer/headers-digest.ts';

const headers = {
  contentType: 'text/plain; charset=utf-8',
  contentEncoding: 'gzip',
  cacheControl: 'no-store, max-age=0',
  contentDisposition: 'attachment; filename="A b.txt"',
  contentLanguage: 'de',
};
const metadata = { owner: 'me', note: 'grüße' };

test('what servers normalise makes no difference to the digest', () => {
  const same = [
    [{ ...headers, contentType: 'Text/Plain;charset=UTF-8' }, metadata],
    [{ ...headers, contentEncoding: 'aws-chunked,gzip' }, metadata],
    [{ ...headers, cacheControl: ' no-store,  max-age=0 ' }, metadata],
    [headers, { note: ' grüße', OWNER: 'me', holdfast: 'a mark', empty: '' }],
  ] as const;
  for (const [h, m] of same) expect(headersDigest(h, m)).toBe(headersDigest(headers, metadata));
  for (const contentType of [undefined, '', 'binary/octet-stream', 'application/octet-stream'])
    expect(headersDigest(contentType === undefined ? {} : { contentType }, {})).toBe(
      headersDigest(undefined, undefined),
    );
});

test('any other header, name or value makes another digest', () => {
  const text = fc.string({ minLength: 1, maxLength: 5, unit: fc.constantFrom('a', 'b', ':', '"', ',', '=') });
  const one = fc.dictionary(text, text, { maxKeys: 3 });
  fc.assert(
    fc.property(one, one, (a, b) => {
      expect(headersDigest({}, a) === headersDigest({}, b)).toBe(sorted(a) === sorted(b));
    }),
  );
  const changes = Object.keys(headers).map((name) => ({ ...headers, [name]: 'x' }));
  for (const change of changes) expect(headersDigest(change, metadata)).not.toBe(headersDigest(headers, metadata));
});

test('a record without a digest has no problem with any headers', () => {
  expect(headersProblem({}, { headers, metadata })).toBeNull();
  expect(headersProblem({ headersSha256: headersDigest(headers, metadata) }, { headers, metadata })).toBeNull();
  expect(headersProblem({ headersSha256: headersDigest({}, metadata) }, { headers, metadata })).toMatch(
    /other headers/,
  );
});

function sorted(record: Record<string, string>): string {
  return JSON.stringify(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}
