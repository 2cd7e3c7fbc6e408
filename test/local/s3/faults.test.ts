import { readFileSync } from 'node:fs';
import {
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../../lib/base/clock.ts';
import type { FaultRule } from '../../../lib/local/s3/faults.ts';
import { unsignedChunks } from './chunked.ts';
import { askingPut, BUCKET, failureOf, type Kit, send, signed, someBytes, startKit } from './kit.ts';

const slept: number[] = [];
/** Real time for signatures; sleeping is only noted. */
const clock: Clock = {
  now: () => Date.now(),
  sleep: async (ms) => {
    slept.push(ms);
  },
};

let kit: Kit;
beforeEach(async () => {
  slept.length = 0;
  kit = await startKit({ clock, controlPort: 0 });
  await put('there', '0123456789');
  kit.server.requests.clear();
});
afterEach(() => kit[Symbol.asyncDispose]());

const Bucket = BUCKET;
const put = (Key: string, Body: Buffer | string, more: Partial<PutObjectCommandInput> = {}) =>
  kit.client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
const read = async (Key = 'there') => {
  const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []).toString();
};
const fault = (rule: FaultRule) => kit.server.faults.add(rule);
const onDisk = (key: string) => readFileSync(kit.server.objectPath(Bucket, key), 'latin1');

describe('rules', () => {
  test('strike by operation, bucket and key, as often as they say', async () => {
    fault({
      kind: 'throttle',
      times: 2,
      match: { operation: ['GetObject', 'HeadObject'], bucket: Bucket, keyPrefix: 'th' },
    });
    await put('there', 'still written');
    expect(await failureOf(read('other'))).toMatchObject({ name: 'NoSuchKey' });
    expect(await failureOf(read())).toEqual({ name: 'SlowDown', status: 503 });
    expect(await failureOf(kit.client.send(new HeadObjectCommand({ Bucket, Key: 'there' })))).toMatchObject({
      status: 503,
    });
    expect(await read()).toBe('still written');
  });

  test('are replaced by one with the same id, and end when cleared', async () => {
    const id = fault({ id: 'mine', kind: 'throttle' });
    fault({ id: 'mine', kind: 'error', status: 500, code: 'InternalError' });
    expect(id).toBe('mine');
    expect(await failureOf(read())).toEqual({ name: 'InternalError', status: 500 });
    kit.server.faults.clear(id);
    expect(await read()).toBe('0123456789');
  });
});

describe('a fault of kind', () => {
  test('refuse cuts the connection and does nothing', async () => {
    fault({ kind: 'refuse' });
    expect((await failureOf(put('refused', 'x'))).status).toBeUndefined();
    kit.server.faults.clear();
    expect(await failureOf(read('refused'))).toMatchObject({ name: 'NoSuchKey' });
    kit.server.requests.clear();
    fault({ kind: 'refuse', match: { operation: 'PutObject' } });
    expect((await failureOf(put('refused', 'x'))).status).toBeUndefined();
    expect(await read()).toBe('0123456789');
    expect(kit.server.requests.count({ operation: 'PutObject', status: 0 })).toBe(1);
  });

  test('delay waits on the clock', async () => {
    fault({ kind: 'delay', ms: 12_345, times: 1 });
    expect(await read()).toBe('0123456789');
    expect(slept).toEqual([12_345]);
  });

  test('error answers what it is told to', async () => {
    fault({ kind: 'error', status: 403, code: 'AccessDenied', message: 'Not today', times: 1 });
    expect(await failureOf(read())).toEqual({ name: 'AccessDenied', status: 403 });
  });

  test('truncate announces the whole length and sends less', async () => {
    await put('big', someBytes(1_000_000));
    for (const [key, afterBytes] of [
      ['there', 4],
      ['big', 600_000],
      ['there', 0],
    ] as const) {
      fault({ kind: 'truncate', afterBytes, times: 1 });
      const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key: key }));
      expect(answer.ContentLength).toBe(key === 'there' ? 10 : 1_000_000);
      await expect(answer.Body?.transformToByteArray()).rejects.toThrow();
      expect(kit.server.requests.all().at(-1)?.bytesOut).toBe(afterBytes);
    }
  });

  test('corrupt changes what is sent and not what is stored', async () => {
    fault({ kind: 'corrupt', atByte: 3, bytes: 2, times: 1 });
    const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key: 'there' }));
    const bytes = Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
    expect(bytes).toEqual(Buffer.from([0x30, 0x31, 0x32, 0x33 ^ 0xff, 0x34 ^ 0xff, 0x35, 0x36, 0x37, 0x38, 0x39]));
    expect(onDisk('there')).toBe('0123456789');
    expect(await read()).toBe('0123456789');
  });

  test('hang holds the answer until cleared, also in the middle of a body', async () => {
    const id = fault({ kind: 'hang', times: 1 });
    const held = read();
    expect(await failureOf(read('other'))).toMatchObject({ name: 'NoSuchKey' });
    kit.server.faults.clear(id);
    expect(await held).toBe('0123456789');

    const inBody = fault({ kind: 'hang', afterBytes: 4 });
    const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key: 'there' }));
    const pieces = (answer.Body as unknown as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    expect((await pieces.next()).value?.toString()).toBe('0123');
    kit.server.faults.clear(inBody);
    expect((await pieces.next()).value?.toString()).toBe('456789');
  });

  test('hang after 0 bytes holds the answer of what has been done already', async () => {
    const id = fault({ kind: 'hang', afterBytes: 0, match: { operation: 'PutObject' } });
    let isAnswered = false;
    const putting = put('held', 'stored all the same').then(() => {
      isAnswered = true;
    });
    await expect.poll(() => read('held').catch(() => '')).toBe('stored all the same');
    expect(isAnswered).toBe(false);
    kit.server.faults.clear(id);
    await putting;
  });

  test('hang ends when the client goes away', async () => {
    fault({ kind: 'hang', match: { operation: 'GetObject' } });
    const controller = new AbortController();
    const held = kit.client.send(new GetObjectCommand({ Bucket, Key: 'there' }), { abortSignal: controller.signal });
    controller.abort();
    expect((await failureOf(held)).name).toBe('AbortError');
    expect((await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'there' }))).ContentLength).toBe(10);
  });

  test('ignore-expect waits for the body without a word', async () => {
    fault({ kind: 'ignore-expect' });
    const request = await askingPut(kit.server.endpoint, 'expect');
    let wasTold = false;
    const answer = await send(kit.server.endpoint, request, (raw) => {
      raw.on('continue', () => {
        wasTold = true;
      });
      raw.end('body');
    });
    expect([answer.status, wasTold]).toEqual([200, false]);
  });

  test('lose-answer does what was asked and cuts the connection', async () => {
    fault({ kind: 'lose-answer', times: 2, match: { operation: ['PutObject', 'DeleteObject'] } });
    expect((await failureOf(put('lost', 'written all the same'))).status).toBeUndefined();
    expect(await read('lost')).toBe('written all the same');
    expect((await failureOf(kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'lost' })))).status).toBeUndefined();
    expect(await failureOf(read('lost'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('drop-metadata stores objects without it, by every way in', async () => {
    const Metadata = { holdfast: 'mark' };
    await put('marked', 'x', { Metadata });
    fault({ kind: 'drop-metadata' });
    await put('dropped', 'x', { Metadata, ContentType: 'text/plain' });
    await kit.client.send(new CopyObjectCommand({ Bucket, Key: 'dropped-copy', CopySource: `${Bucket}/marked` }));
    for (const Key of ['dropped', 'dropped-copy']) {
      expect((await kit.client.send(new HeadObjectCommand({ Bucket, Key }))).Metadata).toEqual({});
    }
    expect((await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'dropped' }))).ContentType).toBe('text/plain');
  });

  test('store-chunk-framing takes the framing for data', async () => {
    fault({ kind: 'store-chunk-framing', times: 1 });
    const body = unsignedChunks([Buffer.from('data')], 'x-amz-checksum-crc32:rfPyYw==\r\n');
    const request = await signed(kit.server.endpoint, {
      method: 'PUT',
      path: `/${Bucket}/framed`,
      payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      headers: { 'x-amz-decoded-content-length': '4', 'x-amz-trailer': 'x-amz-checksum-crc32' },
    });
    request.headers['content-length'] = String(body.length);
    expect((await send(kit.server.endpoint, { ...request, body })).status).toBe(200);
    expect(onDisk('framed')).toBe(body.toString('latin1'));
  });

  test('max-object-bytes refuses what is bigger', async () => {
    fault({ kind: 'max-object-bytes', bytes: 10 });
    expect(await failureOf(put('eleven', '01234567890'))).toEqual({ name: 'EntityTooLarge', status: 400 });
    await put('ten', '0123456789');
  });

  test('hide-encoding encodes the keys of every listing without saying so', async () => {
    await put('a b+c', 'x');
    await kit.client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'a b+c' }));
    fault({ kind: 'hide-encoding' });
    const asked = { Bucket, Prefix: 'a b', EncodingType: 'url' as const };
    const listings = [
      await kit.client.send(new ListObjectsV2Command(asked)),
      await kit.client.send(new ListMultipartUploadsCommand(asked)),
      await kit.client.send(new ListObjectVersionsCommand(asked)),
    ];
    expect(listings.map(({ EncodingType }) => EncodingType)).toEqual([undefined, undefined, undefined]);
    expect(listings[0]).toMatchObject({ Contents: [{ Key: 'a+b%2Bc' }] });
    expect(listings[1]).toMatchObject({ Uploads: [{ Key: 'a+b%2Bc' }] });
  });

  test('loop-tokens begins every page anew', async () => {
    await put('there-too', 'x');
    fault({ kind: 'loop-tokens' });
    const page = (more = {}) => kit.client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1, ...more }));
    const first = await page();
    const second = await page({ ContinuationToken: first.NextContinuationToken });
    expect(second.Contents?.[0]?.Key).toBe(first.Contents?.[0]?.Key);
    expect(second.IsTruncated).toBe(true);
  });

  test('refuse-keys takes no such key, and no batch that names one', async () => {
    fault({ kind: 'refuse-keys', pattern: 'bad' });
    expect(await failureOf(put('a bad key', 'x'))).toEqual({ name: 'InvalidArgument', status: 400 });
    const Delete = { Objects: [{ Key: 'there' }, { Key: 'a bad key' }] };
    expect(await failureOf(kit.client.send(new DeleteObjectsCommand({ Bucket, Delete })))).toMatchObject({
      status: 400,
    });
    expect(await read()).toBe('0123456789');
  });

  test('refuse-nested takes no key that is a folder of another, nor one below a key', async () => {
    await put('folder/file', 'x');
    fault({ kind: 'refuse-nested' });
    for (const key of ['folder', 'folder/file/below', 'there/below'])
      expect(await failureOf(put(key, 'x'))).toMatchObject({ status: 400 });
    await put('folder/other', 'x');
    await put('folder/file', 'y');
  });

  test('resolve-paths stores a key under what it is as a path, and deletes that', async () => {
    fault({ kind: 'resolve-paths' });
    await put('a/../b//c', 'moved');
    kit.server.faults.clear();
    expect(await read('b/c')).toBe('moved');
    fault({ kind: 'resolve-paths' });
    const Delete = { Objects: [{ Key: 'x/../b/c' }] };
    await kit.client.send(new DeleteObjectsCommand({ Bucket, Delete }));
    expect(await failureOf(read('b/c'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('name-versions names one and keeps none', async () => {
    fault({ kind: 'name-versions' });
    expect((await put('there', 'one')).VersionId).toEqual(expect.any(String));
    await put('there', 'two');
    const { Versions } = await kit.client.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'there' }));
    expect(Versions).toHaveLength(1);
  });

  test('forget-metadata has lost what was stored with it', async () => {
    await put('marked', 'x', { Metadata: { mark: 'm' }, ContentType: 'text/plain' });
    fault({ kind: 'forget-metadata' });
    expect(await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'marked' }))).toMatchObject({
      Metadata: {},
      ContentType: 'text/plain',
    });
  });

  test('fold-headers answers with another form of Content-Type', async () => {
    await put('typed', 'x', { ContentType: 'text/plain; charset=utf-8' });
    fault({ kind: 'fold-headers' });
    const { ContentType } = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'typed' }));
    expect(ContentType).toBe('text/plain;charset=utf-8');
  });

  test('keep-truncated stores what had come when the client broke off', async () => {
    fault({ kind: 'keep-truncated' });
    const request = await signed(kit.server.endpoint, {
      method: 'PUT',
      path: `/${Bucket}/half`,
      payload: 'UNSIGNED-PAYLOAD',
      headers: { 'content-length': '10' },
    });
    const broken = send(kit.server.endpoint, request, (raw) => {
      raw.write('half.', () => raw.destroy());
    });
    await expect(broken).rejects.toThrow();
    await expect.poll(() => read('half').catch(() => '')).toBe('half.');
  });
});

describe('reject-feature', () => {
  const copyPart = async () => {
    const { UploadId } = await kit.client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'm' }));
    return kit.client.send(
      new UploadPartCopyCommand({ Bucket, Key: 'm', UploadId, PartNumber: 1, CopySource: `${Bucket}/there` }),
    );
  };
  const ETag = '"wrong"';
  const USES = {
    'conditional-put': () => put('new', 'x', { IfNoneMatch: '*' }),
    'conditional-delete': () => kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'there', IfMatch: ETag })),
    checksum: () => put('new', 'x', { ChecksumAlgorithm: 'SHA256' }),
    DeleteObjects: () => kit.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'there' }] } })),
    CopyObject: () => kit.client.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: `${Bucket}/there` })),
    'part-copy': copyPart,
    multipart: () => kit.client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'm' })),
    versioning: () => kit.client.send(new GetBucketVersioningCommand({ Bucket })),
    tagging: () => put('new', 'x', { Tagging: 'a=b' }),
    'start-after': () => kit.client.send(new ListObjectsV2Command({ Bucket, StartAfter: 'a' })),
    'copy-condition': () =>
      kit.client.send(
        new CopyObjectCommand({ Bucket, Key: 'c', CopySource: `${Bucket}/there`, CopySourceIfMatch: ETag }),
      ),
  };

  test.each(Object.keys(USES) as (keyof typeof USES)[])(
    'answers NotImplemented to %s and nothing else',
    async (feature) => {
      fault({ kind: 'reject-feature', feature });
      expect(await failureOf(USES[feature]())).toEqual({ name: 'NotImplemented', status: 501 });
      await put('plain', 'x');
      expect(await read()).toBe('0123456789');
    },
  );

  test('can ignore a condition instead: an object is replaced or removed in spite of it', async () => {
    fault({ kind: 'reject-feature', feature: 'conditional-put', answer: 'silently-ignore' });
    fault({ kind: 'reject-feature', feature: 'conditional-delete', answer: 'silently-ignore' });
    await put('there', 'replaced', { IfNoneMatch: '*' });
    expect(await read()).toBe('replaced');
    await kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'there', IfMatch: ETag }));
    expect(await failureOf(read())).toMatchObject({ name: 'NoSuchKey' });
    await put('batch', 'x');
    const answer = await kit.client.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'batch', ETag }] } }),
    );
    expect(answer.Deleted?.map(({ Key }) => Key)).toEqual(['batch']);
  });

  test('can ignore checksums instead: a wrong one is taken, and none is kept', async () => {
    fault({ kind: 'reject-feature', feature: 'checksum', answer: 'silently-ignore' });
    await put('unchecked', 'x', { ChecksumSHA256: Buffer.alloc(32).toString('base64') });
    const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'unchecked', ChecksumMode: 'ENABLED' }));
    expect(head.ChecksumSHA256).toBeUndefined();
  });
});

describe('the control port', () => {
  const control = async (method: string, path: string, body?: unknown) => {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const answer = await fetch(`${kit.server.controlEndpoint}${path}`, init);
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  test('adds, lists and clears rules from another process', async () => {
    const { body } = await control('POST', '/faults', { kind: 'throttle', match: { operation: 'GetObject' } });
    expect(await failureOf(read())).toMatchObject({ name: 'SlowDown' });
    expect((await control('GET', '/faults')).body).toEqual([
      { id: body.id, kind: 'throttle', match: { operation: 'GetObject' } },
    ]);
    expect((await control('DELETE', `/faults/${body.id}`)).status).toBe(200);
    expect((await control('DELETE', `/faults/${body.id}`)).status).toBe(404);
    expect(await read()).toBe('0123456789');
    await control('POST', '/faults', { kind: 'throttle' });
    await control('DELETE', '/faults');
    expect(await read()).toBe('0123456789');
  });

  test('counts requests by operation', async () => {
    await read();
    await put('a', 'x');
    expect((await control('GET', '/requests')).body).toEqual({ GetObject: 1, PutObject: 1 });
    await control('DELETE', '/requests');
    expect((await control('GET', '/requests')).body).toEqual({});
  });

  test.each([
    [{}, 'Unknown kind'],
    [{ kind: 'explode' }, 'Unknown kind'],
    [{ kind: 'delay' }, '"ms"'],
    [{ kind: 'delay', ms: '5' }, '"ms"'],
    [{ kind: 'throttle', often: 1 }, 'no field "often"'],
    [{ kind: 'throttle', match: { operations: 'GetObject' } }, 'no field "operations"'],
    [{ kind: 'reject-feature', feature: 'teleport' }, 'teleport'],
    [[], 'JSON object'],
  ])('refuses the rule %j and says why', async (rule, reason) => {
    const answer = await control('POST', '/faults', rule);
    expect(answer.status).toBe(400);
    expect(answer.body.error).toContain(reason);
    expect(kit.server.faults.list()).toEqual([]);
  });

  test('is not there unless asked for', async () => {
    await using other = await startKit();
    expect(other.server.controlEndpoint).toBeUndefined();
  });
});
