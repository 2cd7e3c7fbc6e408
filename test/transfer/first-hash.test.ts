import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { type EtagRule, provingHash } from '../../lib/transfer/first-hash.ts';
import { resumableHashes } from '../../lib/transfer/running-hash.ts';

const bytes = Buffer.from(Array.from({ length: 2_000 }, (_, i) => (i * 7) % 251));
const partBytes = 700;

function etagOf(parts: readonly Uint8Array[]): string {
  const md5 = (part: Uint8Array) => createHash('md5').update(part).digest();
  return `${md5(Buffer.concat(parts.map(md5))).toString('hex')}-${parts.length}`;
}

const etag = etagOf([bytes.subarray(0, 700), bytes.subarray(700, 1400), bytes.subarray(1400)]);
const rule: EtagRule = { kind: 'parts', etag, partBytes };

async function stateAfter(count: number): Promise<string> {
  const hash = (await provingHash(resumableHashes, rule, ''))!;
  hash.update(bytes.subarray(0, count));
  return hash.state();
}

test('a proof by parts is gone on with from wherever it was left', async () => {
  for (const count of [1, 699, 700, 701, 1400, 1999]) {
    const hash = (await provingHash(resumableHashes, rule, await stateAfter(count)))!;
    hash.update(bytes.subarray(count));
    expect([hash.digest(), hash.isProven()]).toEqual([createHash('sha256').update(bytes).digest('hex'), true]);
  }
});

test('a backend that says another length of its first part is not gone on with from the former one', async () => {
  const state = await stateAfter(690);
  for (const other of [680, 690, 999]) {
    const otherwise: EtagRule = { kind: 'parts', etag, partBytes: other };
    expect(await provingHash(resumableHashes, otherwise, state)).toBeNull();
  }
});

test('a state that is none, or of another version, is begun anew', async () => {
  const { sha256, etag: kept } = JSON.parse(await stateAfter(690)) as { sha256: string; etag: string };
  const odd = (change: object) => JSON.stringify({ ...JSON.parse(kept), ...change });
  const states = [
    ...['5', 'null', '[]', '{', odd({ bytesInPart: undefined }), odd({ bytesInPart: 'x' })],
    ...[odd({ bytesInPart: -1 }), odd({ bytesInPart: 701 }), odd({ bytesInPart: null }), odd({ partsDone: 0.5 })],
    ...[odd({ whole: 'AAAA' }), odd({ part: 7 }), odd({ partBytes: undefined })],
  ];
  for (const one of states)
    expect(await provingHash(resumableHashes, rule, JSON.stringify({ sha256, etag: one })), one).toBeNull();
  for (const whole of ['5', 'null', '[]', '{', 'text', JSON.stringify({ sha256: 'AAAA', etag: kept })])
    expect(await provingHash(resumableHashes, rule, whole), whole).toBeNull();
});
