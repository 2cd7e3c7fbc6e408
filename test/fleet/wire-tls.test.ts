import { createHash, randomBytes } from 'node:crypto';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import type { S3Backend } from '../../lib/fleet/s3-backend.ts';
import { certificate, startTlsFront, type TlsFront } from '../support/tls.ts';
import { type S3Kit, startS3 } from './s3-kit.ts';

/** What most backends are reached by. */
describe('a backend behind TLS', () => {
  let kit: S3Kit;
  let front: TlsFront;
  let backend: S3Backend;
  const trusted = getCACertificates('default');
  const mib = 1024 * 1024;
  const at = (host: string) => kit.connect({ endpoint: `https://${host}:${front.port}` });
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  const put = (storageKey: string, bytes: Buffer) =>
    backend.put({ storageKey, sizeBytes: bytes.length, body: bodyOf(bytes) });

  beforeAll(async () => {
    setDefaultCACertificates([...trusted, certificate]);
    kit = await startS3();
  });
  beforeEach(async () => {
    await kit.reset();
    front = await startTlsFront(Number(new URL(kit.server.endpoint).port));
    backend = at('localhost');
    return async () => {
      backend.close();
      await front[Symbol.asyncDispose]();
    };
  });
  afterAll(async () => {
    setDefaultCACertificates(trusted);
    await kit.close();
  });

  it('is read and written, over one connection from request to request', async () => {
    for (const size of [0, 1, 4096, mib, 5 * mib + 3]) {
      const bytes = randomBytes(size);
      await put(`k${size}`, bytes);
      expect(await backend.head(`k${size}`)).toMatchObject({ sizeBytes: size });
      expect(sha256(await collect((await backend.get(`k${size}`)).body))).toBe(sha256(bytes));
    }
    expect(front.connections().all).toBe(1);
    const { items } = await backend.list({});
    expect(items).toHaveLength(5);
  });

  it('gets many at once, whose bytes do not mix', async () => {
    const contents = Array.from({ length: 40 }, (_, i) => randomBytes(i * 10_000));
    await Promise.all(contents.map((bytes, i) => put(`k${i}`, bytes)));
    const read = await Promise.all(contents.map(async (_, i) => collect((await backend.get(`k${i}`)).body)));
    expect(read.map(sha256)).toEqual(contents.map(sha256));
  });

  it('has its parts written and copied', async () => {
    const parts = [randomBytes(5 * mib), randomBytes(11)];
    const { uploadId } = await backend.createUpload({ storageKey: 'big' });
    for (const [i, bytes] of parts.entries())
      await backend.uploadPart({
        storageKey: 'big',
        uploadId,
        partNumber: i + 1,
        sizeBytes: bytes.length,
        body: bodyOf(bytes),
      });
    await backend.completeUpload({ storageKey: 'big', uploadId, parts: await backend.listParts('big', uploadId) });
    expect(sha256(await collect((await backend.get('big')).body))).toBe(sha256(Buffer.concat(parts)));
  });

  it('goes on with its session on the next connection', async () => {
    await put('k', randomBytes(10));
    const bodies = await Promise.all([1, 2, 3].map(() => backend.get('k')));
    await Promise.all(bodies.map(({ body }) => collect(body)));
    const { all, resumed } = front.connections();
    expect(resumed).toBe(all - 1);
  });

  it('is not asked when it is another than the one that is named', async () => {
    backend.close();
    backend = at('127.0.0.1');
    const failure = await backend.head('never').catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'BackendError', message: expect.stringContaining('certificate') });
    expect(kit.server.requests.matching({ key: 'never' })).toEqual([]);
  });

  it('is not asked when nobody trusts it', async () => {
    setDefaultCACertificates(trusted);
    try {
      const failure = await backend.head('k').catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: 'BackendError', message: expect.stringContaining('certificate') });
    } finally {
      setDefaultCACertificates([...trusted, certificate]);
    }
  });

  it('that breaks off in a body is an error, and no shorter object', async () => {
    await put('k', randomBytes(3 * mib));
    const { body } = await backend.get('k');
    let read = 0;
    const reading = (async () => {
      for await (const chunk of body) {
        read += chunk.length;
        if (read > 0) await front[Symbol.asyncDispose]();
      }
    })();
    await expect(reading).rejects.toMatchObject({ name: 'BackendError', kind: 'truncated' });
  });
});
