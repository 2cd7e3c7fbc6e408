import { PutBucketVersioningCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { connectS3 } from '../../lib/fleet/s3/connection.ts';
import type { S3Backend } from '../../lib/fleet/s3-backend.ts';
import { kindOf } from '../contracts/backend-bytes.ts';
import { isWhole } from '../support/extent.ts';
import { bucket, everything, type S3Kit, startS3 } from './s3-kit.ts';

describe('S3 backend on a bucket that keeps versions', () => {
  let kit: S3Kit;
  let backend: S3Backend;
  beforeAll(async () => {
    kit = await startS3();
    const s3 = connectS3({ ...kit.options, capabilities: {} });
    const VersioningConfiguration = { Status: 'Enabled' as const };
    await (await s3.sdk()).once.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }));
    s3.close();
    backend = kit.connect({ prefix: 'p/', capabilities: { ...everything, keepsVersions: true } });
  });
  afterAll(() => kit.close());

  const put = (storageKey: string, text: string) =>
    backend.put({ storageKey, sizeBytes: Buffer.byteLength(text), body: bodyOf(Buffer.from(text)) });

  it('deletes every version and marker of exactly the keys named', async () => {
    for (const text of ['one', 'two', 'three'])
      for (const key of ['k', 'k2', 'k/', 'odd \u0001+']) await put(key, text);
    const plain = kit.connect({ prefix: 'p/' });
    await plain.delete([{ storageKey: 'k' }]);
    await put('k', 'four');
    const outcomes = await backend.delete([{ storageKey: 'k' }, { storageKey: 'odd \u0001+' }, { storageKey: 'none' }]);
    expect(outcomes.map((o) => o.outcome)).toEqual(['deleted', 'deleted', 'deleted']);
    expect((await kit.versions()).sort()).toEqual(['p/k/', 'p/k/', 'p/k/', 'p/k2', 'p/k2', 'p/k2']);
  });

  it('tells a delete marker from a missing key', async () => {
    await put('marked', 'x');
    await kit.connect({ prefix: 'p/' }).delete([{ storageKey: 'marked' }]);
    expect(await kindOf(backend.get('marked'))).toBe('delete-marker');
    expect(await kindOf(backend.head('marked'))).toBe('delete-marker');
    expect(await backend.head('never')).toBeNull();
  });

  it('a listing of versions that is refused is the failure of the key that asked, and of no other', async () => {
    for (const key of ['x0', 'x1', 'x2', 'x3']) await put(key, 'v');
    kit.server.faults.add({
      kind: 'error',
      status: 403,
      code: 'AccessDenied',
      match: { operation: 'ListObjectVersions' },
      times: 1,
    });
    const keys = ['x0', 'x1', 'x2', 'x3'].map((storageKey) => ({ storageKey }));
    const outcomes = (await backend.delete(keys)).map((o) => o.outcome);
    expect(outcomes.toSorted()).toEqual(['deleted', 'deleted', 'deleted', 'failed']);
    expect(await backend.delete(keys)).toEqual(keys.map(() => ({ outcome: 'deleted' })));
  });

  it('deletes versions one by one where a request for many of them is refused', async () => {
    for (const text of ['one', 'two', 'three']) await put('versions', text);
    kit.server.faults.add({
      kind: 'error',
      status: 501,
      code: 'NotImplemented',
      match: { operation: 'DeleteObjects' },
    });
    expect(await backend.delete([{ storageKey: 'versions' }])).toEqual([{ outcome: 'deleted' }]);
    expect((await kit.versions()).includes('p/versions')).toBe(false);
    kit.server.faults.clear();
  });

  it.runIf(isWhole)('deletes more versions than one page of them holds', async () => {
    for (let i = 0; i < 1050; i += 1) await put('many', String(i));
    expect(await backend.delete([{ storageKey: 'many' }])).toEqual([{ outcome: 'deleted' }]);
    expect((await kit.versions()).includes('p/many')).toBe(false);
  });
});
