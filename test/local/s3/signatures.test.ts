import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';
import { describe, expect, test } from 'vitest';
import { defined } from '../../../lib/base/defined.ts';
import { signedChunks, split, unsignedChunks } from './chunked.ts';
import { BUCKET, failureOf, KEYS, kitForFile, Sha256, send, sendSigned, signed, someBytes } from './kit.ts';

const READER = { accessKeyId: 'AKIAREADER', secretAccessKey: 'reader', readOnly: true };
const KEEPER = { accessKeyId: 'AKIAKEEPER', secretAccessKey: 'keeper', noDelete: true };

const kit = kitForFile({ credentials: [KEYS, READER, KEEPER] });

const Bucket = BUCKET;
const stored = async (Key: string) => {
  const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
};
const crc32Of = (bytes: Buffer) => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(crc32(bytes));
  return out.toString('base64');
};

describe('the Authorization header', () => {
  test('a request without a signature is AccessDenied', async () => {
    const answer = await send(kit.server.endpoint, { path: `/${Bucket}/a` });
    expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
  });

  test('an unknown access key is InvalidAccessKeyId', async () => {
    const client = kit.newClient({ credentials: { accessKeyId: 'AKIANOBODY', secretAccessKey: 'x' } });
    const call = client.send(new GetObjectCommand({ Bucket, Key: 'a' }));
    expect(await failureOf(call)).toEqual({ name: 'InvalidAccessKeyId', status: 403 });
  });

  test('a wrong secret is SignatureDoesNotMatch', async () => {
    const client = kit.newClient({ credentials: { ...KEYS, secretAccessKey: 'wrong' } });
    const call = client.send(new GetObjectCommand({ Bucket, Key: 'a' }));
    expect(await failureOf(call)).toEqual({ name: 'SignatureDoesNotMatch', status: 403 });
  });

  test.each([
    ['method', (request: { method?: string }) => ({ ...request, method: 'DELETE' })],
    ['path', (request: object) => ({ ...request, path: `/${Bucket}/b` })],
    ['query', (request: object) => ({ ...request, path: `/${Bucket}/a?versionId=x` })],
    [
      'signed header',
      (request: { headers: object }) => ({ ...request, headers: { ...request.headers, 'x-amz-meta-a': '2' } }),
    ],
  ])('a changed %s is SignatureDoesNotMatch', async (_, change) => {
    const request = await signed(kit.server.endpoint, { path: `/${Bucket}/a`, headers: { 'x-amz-meta-a': '1' } });
    const answer = await send(kit.server.endpoint, change(request) as typeof request);
    expect([answer.status, answer.code]).toEqual([403, 'SignatureDoesNotMatch']);
  });

  test('an x-amz header that is not signed is AccessDenied', async () => {
    const request = await signed(kit.server.endpoint, { method: 'PUT', path: `/${Bucket}/a`, body: 'x' });
    request.headers['x-amz-meta-added'] = 'later';
    const answer = await send(kit.server.endpoint, request);
    expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
    expect(answer.text).toContain('<HeadersNotSigned>x-amz-meta-added</HeadersNotSigned>');
  });

  test.each(['', 'Credential=only', 'Credential=a/b/c, SignedHeaders=host, Signature=00'])(
    'the header "%s" is AuthorizationHeaderMalformed',
    async (rest) => {
      const answer = await send(kit.server.endpoint, {
        path: `/${Bucket}`,
        headers: { authorization: `AWS4-HMAC-SHA256 ${rest}` },
      });
      expect([answer.status, answer.code]).toEqual([400, 'AuthorizationHeaderMalformed']);
    },
  );

  test('a request from sixteen minutes ago is RequestTimeTooSkewed, one from fourteen is not', async () => {
    const ago = (minutes: number) =>
      sendSigned(kit.server.endpoint, { path: `/${Bucket}`, at: new Date(Date.now() - minutes * 60_000) });
    const late = await ago(16);
    expect([late.status, late.code]).toEqual([403, 'RequestTimeTooSkewed']);
    expect((await ago(14)).status).toBe(200);
  });

  test('a read-only credential reads, and may not write or delete', async () => {
    await kit.client.send(new PutObjectCommand({ Bucket, Key: 'readable', Body: 'x' }));
    const reader = kit.newClient({ credentials: READER });
    expect((await reader.send(new HeadObjectCommand({ Bucket, Key: 'readable' }))).ContentLength).toBe(1);
    const put = reader.send(new PutObjectCommand({ Bucket, Key: 'readable', Body: 'y' }));
    expect(await failureOf(put)).toEqual({ name: 'AccessDenied', status: 403 });
    const del = reader.send(new DeleteObjectCommand({ Bucket, Key: 'readable' }));
    expect(await failureOf(del)).toEqual({ name: 'AccessDenied', status: 403 });
    expect((await stored('readable')).toString()).toBe('x');
  });

  test('a credential without delete rights writes, and is refused each delete', async () => {
    const keeper = kit.newClient({ credentials: KEEPER });
    await keeper.send(new PutObjectCommand({ Bucket, Key: 'kept', Body: 'x' }));
    expect(await failureOf(keeper.send(new DeleteObjectCommand({ Bucket, Key: 'kept' })))).toMatchObject({
      name: 'AccessDenied',
    });
    const many = await keeper.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'kept' }] } }));
    expect(many.Errors?.map(({ Key, Code }) => [Key, Code])).toEqual([['kept', 'AccessDenied']]);
    expect((await stored('kept')).toString()).toBe('x');
  });
});

describe('a presigned request', () => {
  const presign = async (
    path: string,
    input: { method?: string; at?: Date; expiresIn?: number; tamper?: (query: URLSearchParams) => void } = {},
  ) => {
    const { host, hostname, port } = new URL(kit.server.endpoint);
    const signer = new SignatureV4({
      credentials: KEYS,
      region: 'eu-west-1',
      service: 's3',
      sha256: Sha256 as never,
      uriEscapePath: false,
      applyChecksum: false,
    });
    const request = await signer.presign(
      {
        method: input.method ?? 'GET',
        protocol: 'http:',
        hostname,
        port: Number(port),
        path,
        query: {},
        headers: { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      },
      {
        expiresIn: input.expiresIn ?? 60,
        ...defined({ signingDate: input.at }),
        unhoistableHeaders: new Set<string>(),
      },
    );
    const query = new URLSearchParams(request.query as Record<string, string>);
    input.tamper?.(query);
    return { method: request.method, path: `${path}?${query.toString().replaceAll('+', '%20')}` };
  };

  test('gets and puts without any header', async () => {
    const put = await presign(`/${Bucket}/presigned`, { method: 'PUT' });
    expect(
      (await send(kit.server.endpoint, { ...put, body: 'from a link', headers: { 'content-length': '11' } })).status,
    ).toBe(200);
    const answer = await send(kit.server.endpoint, await presign(`/${Bucket}/presigned`));
    expect(answer.text).toBe('from a link');
  });

  test('is AccessDenied once it has expired', async () => {
    const request = await presign(`/${Bucket}/presigned`, { at: new Date(Date.now() - 61_000), expiresIn: 60 });
    const answer = await send(kit.server.endpoint, request);
    expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
    expect(answer.text).toContain('Request has expired');
  });

  test('is SignatureDoesNotMatch when its expiry was stretched', async () => {
    const request = await presign(`/${Bucket}/presigned`, { tamper: (query) => query.set('X-Amz-Expires', '604800') });
    expect((await send(kit.server.endpoint, request)).code).toBe('SignatureDoesNotMatch');
  });

  test.each(['0', '604801', 'soon'])('with an expiry of %s is AuthorizationQueryParametersError', async (expires) => {
    const request = await presign(`/${Bucket}/presigned`, { tamper: (query) => query.set('X-Amz-Expires', expires) });
    const answer = await send(kit.server.endpoint, request);
    expect([answer.status, answer.code]).toEqual([400, 'AuthorizationQueryParametersError']);
  });
});

describe('a payload', () => {
  const put = (Key: string, more: Parameters<typeof signed>[1]) =>
    sendSigned(kit.server.endpoint, { method: 'PUT', path: `/${Bucket}/${Key}`, ...more });

  test('that differs from its signed hash is XAmzContentSHA256Mismatch and leaves nothing', async () => {
    const payload = createHash('sha256').update('what was meant').digest('hex');
    const answer = await put('mismatch', { body: 'what was sent', payload });
    expect([answer.status, answer.code]).toEqual([400, 'XAmzContentSHA256Mismatch']);
    expect(await failureOf(stored('mismatch'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('may go unsigned', async () => {
    expect((await put('unsigned', { body: 'anything', payload: 'UNSIGNED-PAYLOAD' })).status).toBe(200);
    expect((await stored('unsigned')).toString()).toBe('anything');
  });

  test('of a nameless kind is InvalidArgument', async () => {
    expect((await put('nameless', { body: 'x', payload: 'SOMETHING' })).code).toBe('InvalidArgument');
  });

  test('without a length is MissingContentLength', async () => {
    const request = await signed(kit.server.endpoint, {
      method: 'PUT',
      path: `/${Bucket}/unsized`,
      payload: 'UNSIGNED-PAYLOAD',
    });
    const headers: Record<string, string> = { ...request.headers, 'transfer-encoding': 'chunked' };
    delete headers['content-length'];
    const answer = await send(kit.server.endpoint, { ...request, headers }, (raw) => raw.end('data'));
    expect([answer.status, answer.code]).toEqual([411, 'MissingContentLength']);
  });
});

describe('an aws-chunked payload', () => {
  const bytes = someBytes(20_000);
  const chunks = split(bytes, 8192);
  const KIND = {
    signed: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
    signedTrailer: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
    trailer: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  };
  const trailer = { name: 'x-amz-checksum-crc32', value: crc32Of(bytes) };
  const announce = (key: string, payload: string, size = bytes.length, more = {}) =>
    signed(kit.server.endpoint, {
      method: 'PUT',
      path: `/${Bucket}/${key}`,
      payload,
      headers: { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(size), ...more },
    });
  const deliver = (request: Awaited<ReturnType<typeof signed>>, body: Buffer) =>
    send(kit.server.endpoint, {
      ...request,
      body,
      headers: { ...request.headers, 'content-length': String(body.length) },
    });

  test('with a signature per chunk is stored without its framing', async () => {
    const request = await announce('chunked', KIND.signed);
    expect((await deliver(request, signedChunks(request, chunks))).status).toBe(200);
    expect((await stored('chunked')).equals(bytes)).toBe(true);
    const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'chunked' }));
    expect(head.ContentEncoding).toBeUndefined();
  });

  test('with one changed byte is SignatureDoesNotMatch and leaves nothing', async () => {
    const request = await announce('chunked-bad', KIND.signed);
    const body = signedChunks(request, chunks);
    body[9000] = (body[9000] as number) ^ 1;
    const answer = await deliver(request, body);
    expect([answer.status, answer.code]).toEqual([403, 'SignatureDoesNotMatch']);
    expect(await failureOf(stored('chunked-bad'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('with chunks in another order is SignatureDoesNotMatch', async () => {
    const request = await announce('chunked-order', KIND.signed);
    const [first, second, third] = split(
      signedChunks(request, [chunks[0] as Buffer, chunks[1] as Buffer]),
      8192 + 87 + 2,
    ) as [Buffer, Buffer, Buffer];
    const answer = await deliver(request, Buffer.concat([second, first, third]));
    expect(answer.code).toBe('SignatureDoesNotMatch');
  });

  test('with a signed trailer checks chunk signatures, checksum and trailer signature', async () => {
    const more = { 'x-amz-trailer': trailer.name };
    const good = await announce('signed-trailer', KIND.signedTrailer, bytes.length, more);
    const answer = await deliver(good, signedChunks(good, chunks, trailer));
    expect(answer.headers['x-amz-checksum-crc32']).toBe(trailer.value);
    expect((await stored('signed-trailer')).equals(bytes)).toBe(true);

    const forged = await announce('forged-trailer', KIND.signedTrailer, bytes.length, more);
    const body = signedChunks(forged, chunks, trailer);
    const at = body.lastIndexOf('x-amz-trailer-signature:') + 'x-amz-trailer-signature:'.length;
    body[at] = body[at] === 0x30 ? 0x31 : 0x30;
    expect((await deliver(forged, body)).code).toBe('SignatureDoesNotMatch');
    expect(await failureOf(stored('forged-trailer'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('with an unsigned trailer checks the checksum in it', async () => {
    const more = { 'x-amz-trailer': trailer.name };
    const good = await announce('trailer', KIND.trailer, bytes.length, more);
    expect((await deliver(good, unsignedChunks(chunks, `${trailer.name}:${trailer.value}\r\n`))).status).toBe(200);
    expect((await stored('trailer')).equals(bytes)).toBe(true);
    const bad = await announce('trailer-bad', KIND.trailer, bytes.length, more);
    const answer = await deliver(bad, unsignedChunks(chunks, `${trailer.name}:AAAAAA==\r\n`));
    expect([answer.status, answer.code]).toEqual([400, 'BadDigest']);
    const missing = await announce('trailer-missing', KIND.trailer, bytes.length, more);
    expect((await deliver(missing, unsignedChunks(chunks))).code).toBe('MalformedTrailerError');
  });

  test.each([-1, 1])('whose length is off by %i from the declared one is IncompleteBody', async (difference) => {
    const request = await announce('off', KIND.trailer, bytes.length + difference);
    const answer = await deliver(request, unsignedChunks(chunks));
    expect([answer.status, answer.code]).toEqual([400, 'IncompleteBody']);
    expect(await failureOf(stored('off'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('that ends before its last chunk is IncompleteBody', async () => {
    const request = await announce('cut', KIND.trailer);
    expect((await deliver(request, unsignedChunks(chunks).subarray(0, 8192 + 100))).code).toBe('IncompleteBody');
  });

  test('with a small chunk before another is InvalidChunkSizeError', async () => {
    const request = await announce('tiny', KIND.trailer);
    expect((await deliver(request, unsignedChunks(split(bytes, 1000)))).code).toBe('InvalidChunkSizeError');
  });

  test('comes from the SDK with its default checksums, for buffers and streams', async () => {
    const client = kit.newClient({
      requestChecksumCalculation: 'WHEN_SUPPORTED',
      responseChecksumValidation: 'WHEN_SUPPORTED',
    });
    await client.send(new PutObjectCommand({ Bucket, Key: 'sdk-buffer', Body: bytes }));
    const stream = Readable.from(split(someBytes(300_000, 7), 65_536));
    await client.send(
      new PutObjectCommand({
        Bucket,
        Key: 'sdk-stream',
        Body: stream,
        ContentLength: 300_000,
        ContentEncoding: 'gzip',
      }),
    );
    expect((await stored('sdk-buffer')).equals(bytes)).toBe(true);
    expect((await stored('sdk-stream')).equals(someBytes(300_000, 7))).toBe(true);
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'sdk-stream', ChecksumMode: 'ENABLED' }));
    expect(head.ContentEncoding).toBe('gzip');
    expect(head.ChecksumCRC32).toBe(crc32Of(someBytes(300_000, 7)));
  });
});
