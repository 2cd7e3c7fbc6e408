import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createAdmission } from '../../lib/base/admission.ts';
import { bodyOf } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import type { ObjectRecord, TransferFields } from '../../lib/store/model.ts';
import { copyInParts } from '../../lib/transfer/big/big-copy.ts';
import type { BigCopyOutcome } from '../../lib/transfer/big/job.ts';
import { createPartBuffers } from '../../lib/transfer/big/part-buffers.ts';
import { digestOf } from '../../lib/transfer/verify.ts';
import { type S3Kit, startS3 } from '../fleet/s3-kit.ts';

const mib = 2 ** 20;
const partSizeBytes = 5 * mib;
const bytes = Buffer.alloc(12 * mib, 'every part is another ');
const copyId = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const target = `k!${copyId}x`;
let kit: S3Kit;

beforeAll(async () => {
  kit = await startS3();
});
afterAll(() => kit.close());
beforeEach(() => kit.reset());

const object: ObjectRecord = {
  kind: 'object',
  key: 'k',
  generation: copyId,
  rev: 1,
  sizeBytes: bytes.length,
  createdAt: 0,
  sha256: createHash('sha256').update(bytes).digest('hex'),
  copies: { from: copyId },
  policy: 'default',
  condition: 'sound',
};

/** Copies on the embedded server; what is saved can be gone on from. */
async function copyOnce(
  saved?: TransferFields,
  afterFirstPart: () => unknown = () => {},
  isTargetSilent = false,
): Promise<{ outcome: BigCopyOutcome; saved: TransferFields; open: number }> {
  const [from, to] = [kit.connect({ name: 'from' }), kit.connect({ name: 'to' })];
  // Only what never comes is given up soon: on a busy machine everything else may take its time.
  const hasty = { stallMs: 500, answerMs: 500 };
  const [hastyFrom, hastyTo] = [
    kit.connect({ name: 'from', timeouts: hasty }),
    kit.connect({ name: 'to', timeouts: hasty }),
  ];
  let reading = from;
  await from.put({ storageKey: `k!${copyId}`, sizeBytes: bytes.length, body: bodyOf(bytes) });
  let progress: TransferFields = saved ?? { from: 'from', uploadId: '', partSizeBytes, partsDone: 0, hashState: '' };
  const job = {
    clock: systemClock,
    object,
    from: { ...from, get: (...args: Parameters<typeof from.get>) => reading.get(...args) },
    to: {
      ...to,
      // The first part goes alone.
      uploadPart: async (...args: Parameters<typeof to.uploadPart>) => {
        const answer = await (isTargetSilent ? hastyTo : to).uploadPart(...args);
        if (afterFirstPart() === 'source falls silent') reading = hastyFrom;
        return answer;
      },
    },
    storageKey: target,
    fleetId: 'fleet',
    progress,
    preservesTags: false,
    endsInThisTurn: false,
    width: 4,
    buffers: createPartBuffers(createAdmission(64 * mib), 64 * mib),
    mayBegin: () => true,
    spendReadingBack: async <T>(_bytes: number, run: () => Promise<T>) => ({
      outcome: 'spent' as const,
      value: await run(),
    }),
    save: async (next: TransferFields) => {
      progress = next;
      return 'saved' as const;
    },
  };
  const outcome = await copyInParts(job, new AbortController().signal);
  return { outcome, saved: progress, open: (await to.openUploads(target)).length };
}

test('a copy in parts over the wire ends with the recorded bytes and no open upload', async () => {
  expect(await copyOnce()).toMatchObject({ outcome: { outcome: 'stored', sha256: object.sha256 }, open: 0 });
  const stored = await kit.connect({ name: 'to' }).head(target);
  expect(stored?.sizeBytes).toBe(bytes.length);
});

test.each([
  ['is cut in the middle', { kind: 'truncate', afterBytes: 1000 }, 'truncated'],
  ['stalls in the middle', { kind: 'hang', afterBytes: 1000 }, 'timeout'],
  ['is refused', { kind: 'error', status: 503, code: 'ServiceUnavailable' }, 'unavailable'],
] as const)('a source whose second part %s is blamed, and the copy goes on with that part', async (_, fault, kind) => {
  const failed = await copyOnce(undefined, () => {
    kit.server.faults.add({ ...fault, match: { operation: 'GetObject' } });
    return fault.kind === 'hang' ? 'source falls silent' : 'source fails';
  });
  expect(failed.outcome).toMatchObject({ outcome: 'source-failed', error: { kind, backend: 'from' } });
  expect(failed.saved).toMatchObject({ partsDone: 1 });
  kit.server.faults.clear();
  kit.server.requests.clear();
  expect(await copyOnce(failed.saved)).toMatchObject({ outcome: { outcome: 'stored' }, open: 0 });
  expect(kit.server.requests.count({ operation: 'UploadPart' })).toBe(2);
});

test.each([
  ['answers 500', { kind: 'error', status: 500, code: 'InternalError' }, 'unavailable'],
  ['answers 403', { kind: 'error', status: 403, code: 'AccessDenied' }, 'denied'],
  ['never answers', { kind: 'hang' }, 'timeout'],
] as const)('a target that %s to a part is blamed', async (_, fault, kind) => {
  kit.server.faults.add({ ...fault, match: { operation: 'UploadPart' } });
  const { outcome } = await copyOnce(undefined, () => {}, fault.kind === 'hang');
  kit.server.faults.clear();
  expect(outcome).toMatchObject({ outcome: 'target-failed', error: { kind, backend: 'to' } });
});

test.each([
  ['what stands at the key already is read, and is what was sent', bytes, { outcome: 'stored' }],
  ['what stands at the key already is read, and is not what was sent', bytes.toReversed(), { outcome: 'target-wrong' }],
])('%s', async (_, standing, outcome) => {
  const to = kit.connect({ name: 'to' });
  await to.put({ storageKey: target, sizeBytes: standing.length, body: bodyOf(standing) });
  const { length: sizeBytes } = bytes;
  kit.server.requests.clear();
  expect(await copyOnce()).toMatchObject({ outcome });
  const stands = await digestOf((await to.get(target)).body);
  expect(stands).toMatchObject({ sizeBytes, sha256: createHash('sha256').update(standing).digest('hex') });
});

test('a completion whose answer is lost is found done', async () => {
  kit.server.faults.add({ kind: 'lose-answer', match: { operation: 'CompleteMultipartUpload' }, times: 1 });
  expect(await copyOnce()).toMatchObject({ outcome: { outcome: 'stored' }, open: 0 });
});
