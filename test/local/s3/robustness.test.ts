import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import {
  CopyObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../lib/base/clock.ts';
import { createS3Server } from '../../../lib/local/s3/server.ts';
import { unsignedChunks } from './chunked.ts';
import { askingPut, BUCKET, failureOf, kitForTest, send, sendSigned, signed, someBytes } from './kit.ts';

const kit = kitForTest();

const Bucket = BUCKET;
const put = (Key: string, Body: Buffer | string) => kit.client.send(new PutObjectCommand({ Bucket, Key, Body }));
const read = async (Key: string) => {
  const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
};
const listed = async () =>
  (await kit.client.send(new ListObjectsV2Command({ Bucket }))).Contents?.map(({ Key }) => Key) ?? [];
const temporaryFiles = () => readdirSync(join(kit.dir, Bucket, 'tmp'));

/** Opens a socket, says `text`, and gives back everything that comes until it ends. */
const converse = (text: string | Buffer) =>
  new Promise<string>((resolve) => {
    const socket = connect(kit.server.port, '127.0.0.1', () => socket.end(text));
    let heard = '';
    socket.on('data', (data) => {
      heard += data.toString('latin1');
    });
    socket.on('error', () => resolve(heard));
    socket.on('close', () => resolve(heard));
  });

describe('writes', () => {
  test('an upload that is cut off leaves nothing, and what was there stays', async () => {
    await put('cut', 'before');
    const request = await signed(kit.server.endpoint, {
      method: 'PUT',
      path: `/${Bucket}/cut`,
      payload: 'UNSIGNED-PAYLOAD',
    });
    const half = someBytes(400_000);
    request.headers['content-length'] = '800000';
    const cut = send(kit.server.endpoint, request, (raw) => raw.write(half, () => raw.destroy()));
    await expect(cut).rejects.toThrow();
    await expect.poll(() => kit.server.requests.count({ operation: 'PutObject', status: 0 })).toBe(1);
    expect((await read('cut')).toString()).toBe('before');
    expect(temporaryFiles()).toEqual([]);
  });

  test('a reader gets all of the old bytes or all of the new, never a mixture', async () => {
    const old = Buffer.alloc(1_500_000, 'o');
    const fresh = Buffer.alloc(1_700_000, 'n');
    await put('swapped', old);
    const reads = Array.from({ length: 12 }, () => read('swapped'));
    const writes = Array.from({ length: 4 }, (_, i) => put('swapped', i % 2 === 0 ? fresh : old));
    for (const bytes of await Promise.all(reads)) expect(bytes.equals(old) || bytes.equals(fresh)).toBe(true);
    await Promise.all(writes);
    const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'swapped' }));
    expect(head.ContentLength).toBe((await read('swapped')).length);
  });

  test('a start removes half-written files and finishes a write that was already told to the journal', async () => {
    await put('finished', 'old');
    const journal = join(kit.dir, Bucket, 'journal.jsonl');
    await kit.server.close();
    const line = JSON.parse(readFileSync(journal, 'utf8').trim().split('\n').at(-1) ?? '{}');
    const put2 = { ...line.put, etag: '22af645d1859cb5ca6da0c484f1f37ea', sizeBytes: 3 };
    writeFileSync(join(kit.dir, Bucket, 'tmp', 'WRITTEN'), 'new');
    writeFileSync(join(kit.dir, Bucket, 'tmp', 'HALF'), 'ne');
    writeFileSync(
      journal,
      `${JSON.stringify(line)}\n${JSON.stringify({ put: put2, from: 'WRITTEN' })}\n{"put":{"key":"torn`,
    );
    await kit.restart();
    expect((await read('finished')).toString()).toBe('new');
    expect(await listed()).toEqual(['finished']);
    expect(temporaryFiles()).toEqual([]);
  });

  test('objects and their times survive a restart', async () => {
    await put('kept', 'x');
    const before = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'kept' }));
    await kit.restart();
    const after = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'kept' }));
    expect([after.ETag, after.LastModified]).toEqual([before.ETag, before.LastModified]);
  });
});

describe('damage on disk', () => {
  test('a file changed by hand is served as it is now, under the old ETag', async () => {
    const { ETag } = await put('rotten', 'good bytes');
    writeFileSync(kit.server.objectPath(Bucket, 'rotten'), 'bad  bytes');
    const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key: 'rotten' }));
    expect(await answer.Body?.transformToString()).toBe('bad  bytes');
    expect(answer.ETag).toBe(ETag);
    const copied = await kit.client.send(
      new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/rotten` }),
    );
    expect(copied.CopyObjectResult?.ETag).not.toBe(ETag);
  });

  test('a file cut short is announced with the length it has', async () => {
    await put('short', '0123456789');
    truncateSync(kit.server.objectPath(Bucket, 'short'), 4);
    expect((await read('short')).toString()).toBe('0123');
    expect((await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'short' }))).ContentLength).toBe(4);
  });

  test('a file removed by hand is a removed object, in reads and listings', async () => {
    await put('gone', 'x');
    await put('gone-too', 'x');
    await put('here', 'x');
    rmSync(kit.server.objectPath(Bucket, 'gone'));
    rmSync(kit.server.objectPath(Bucket, 'gone-too'));
    expect(await failureOf(read('gone'))).toEqual({ name: 'NoSuchKey', status: 404 });
    expect(await listed()).toEqual(['here']);
    await kit.restart();
    expect(await listed()).toEqual(['here']);
    expect(() => kit.server.objectPath(Bucket, 'gone')).toThrow('does not hold it');
  });
});

describe('Expect: 100-continue', () => {
  test('is answered before the body is asked for', async () => {
    const request = await askingPut(kit.server.endpoint, 'expected');
    let wasTold = false;
    const answer = await send(kit.server.endpoint, request, (raw) => {
      raw.on('continue', () => {
        wasTold = true;
        raw.end('body');
      });
      raw.flushHeaders();
    });
    expect([answer.status, wasTold]).toEqual([200, true]);
    expect((await read('expected')).toString()).toBe('body');
  });

  test('is answered with the error at once where the body is not wanted', async () => {
    const request = await signed(kit.server.endpoint, {
      method: 'PUT',
      path: '/no-such-bucket/a',
      payload: 'UNSIGNED-PAYLOAD',
    });
    Object.assign(request.headers, { expect: '100-continue', 'content-length': '4' });
    const answer = await send(kit.server.endpoint, request, (raw) => {
      raw.on('continue', () => raw.end('body'));
      raw.flushHeaders();
    });
    expect([answer.code, answer.headers.connection]).toEqual(['NoSuchBucket', 'close']);
    expect(kit.server.requests.all().at(-1)?.bytesIn).toBe(0);
  });
});

describe('hostile input', () => {
  test('bytes that are not HTTP are dropped, and the server lives on', async () => {
    await converse(someBytes(5000));
    await converse('GET / HTTP/1.1\r\nHost: x\r\nContent-Length: banana\r\n\r\n');
    await converse(`GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(100_000)}\r\n\r\n`);
    await converse('GET http://[broken HTTP/1.1\r\nHost: x\r\n\r\n');
    await converse('PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n');
    await put('alive', 'yes');
    expect((await read('alive')).toString()).toBe('yes');
  });

  test.each([
    '',
    'no xml',
    '<Delete>',
    '<Delete><Object><Key>a</Key></Object>',
    '<Delete></Delete>',
    '<Wrong><Object><Key>a</Key></Object></Wrong>',
    '<Delete><Object></Object></Delete>',
    '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    '<Delete><Object><Key>&nope;</Key></Object></Delete>',
    '<Delete><Object><Key>&#xD800;</Key></Object></Delete>',
    `${'<a>'.repeat(10_000)}`,
    '<Delete><Object><Key>a</Wrong></Object></Delete>',
    '\u0000\u0001',
  ])('the document %j is MalformedXML', async (body) => {
    const headers = { 'content-md5': createHash('md5').update(body).digest('base64') };
    const answer = await sendSigned(kit.server.endpoint, { method: 'POST', path: `/${Bucket}?delete=`, body, headers });
    expect([answer.status, answer.code]).toEqual([400, 'MalformedXML']);
  });

  test('DeleteObjects takes a thousand keys and no more, and only with a digest', async () => {
    const objects = (count: number) => ({
      Delete: { Objects: Array.from({ length: count }, (_, i) => ({ Key: `k${i}` })) },
    });
    expect((await kit.client.send(new DeleteObjectsCommand({ Bucket, ...objects(1000) }))).Deleted).toHaveLength(1000);
    const over = kit.client.send(new DeleteObjectsCommand({ Bucket, ...objects(1001) }));
    expect(await failureOf(over)).toEqual({ name: 'MalformedXML', status: 400 });
    const body = '<Delete><Object><Key>a</Key></Object></Delete>';
    const bare = await sendSigned(kit.server.endpoint, { method: 'POST', path: `/${Bucket}?delete=`, body });
    expect([bare.status, bare.code]).toEqual([400, 'InvalidRequest']);
  });

  test.each([
    ['GET', `/${Bucket}?policy=`, 501, 'NotImplemented'],
    ['GET', `/${Bucket}/a?acl=`, 501, 'NotImplemented'],
    ['PATCH', `/${Bucket}/a`, 405, 'MethodNotAllowed'],
    ['DELETE', '/', 405, 'MethodNotAllowed'],
  ])('%s %s is %i %s', async (method, path, status, code) => {
    const answer = await sendSigned(kit.server.endpoint, { method, path });
    expect([answer.status, answer.code]).toEqual([status, code]);
  });

  test('a body refused half-way is read to its end, and the connection goes on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const body = unsignedChunks([Buffer.alloc(10), someBytes(6_000_000)]);
    const request = await signed(kit.server.endpoint, {
      method: 'PUT',
      path: `/${Bucket}/half`,
      payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      headers: { 'x-amz-decoded-content-length': '6000010' },
    });
    request.headers['content-length'] = String(body.length);
    const refused = await send(kit.server.endpoint, { ...request, body, agent });
    expect(refused.code).toBe('InvalidChunkSizeError');
    const next = await signed(kit.server.endpoint, { method: 'PUT', path: `/${Bucket}/next`, body: 'fine' });
    expect((await send(kit.server.endpoint, { ...next, agent })).status).toBe(200);
    expect(await listed()).toEqual(['next']);
    expect(temporaryFiles()).toEqual([]);
    agent.destroy();
  });

  test('HEAD never has a body, not even for an error', async () => {
    const answer = await sendSigned(kit.server.endpoint, { method: 'HEAD', path: '/no-such-bucket/a' });
    expect([answer.status, answer.body.length]).toEqual([404, 0]);
  });

  test('a body that nobody wanted does not spoil the next request on the connection', async () => {
    const client = kit.newClient({ requestHandler: { httpAgent: { keepAlive: true, maxSockets: 1 } } });
    const bad = client.send(new PutObjectCommand({ Bucket: 'no-such-bucket', Key: 'a', Body: someBytes(1_500_000) }));
    expect(await failureOf(bad)).toEqual({ name: 'NoSuchBucket', status: 404 });
    await client.send(new PutObjectCommand({ Bucket, Key: 'next', Body: 'fine' }));
    expect((await read('next')).toString()).toBe('fine');
  });
});

describe('the server', () => {
  test('closes at once, also with requests under way, and frees its port', async () => {
    await put('big', someBytes(3_000_000));
    kit.server.faults.add({ kind: 'hang' });
    const hanging = failureOf(read('big'));
    const { port } = kit.server;
    await kit.server.close();
    expect((await hanging).status).toBeUndefined();
    const heard = await converse('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(heard).toBe('');
    kit.server = await createS3Server({ dir: kit.dir, port, credentials: [], clock: systemClock });
    expect(kit.server.port).toBe(port);
  });

  test('logs what went over the wire', async () => {
    await put('logged', '12345');
    await read('logged');
    await failureOf(read('not-there'));
    const [first, second, third] = kit.server.requests.all();
    expect(first).toEqual({
      operation: 'PutObject',
      bucket: Bucket,
      key: 'logged',
      status: 200,
      bytesIn: 5,
      bytesOut: 0,
    });
    expect(second).toEqual({
      operation: 'GetObject',
      bucket: Bucket,
      key: 'logged',
      status: 200,
      bytesIn: 0,
      bytesOut: 5,
    });
    expect(third).toMatchObject({ operation: 'GetObject', key: 'not-there', status: 404 });
    expect(kit.server.requests.count({ operation: 'GetObject' })).toBe(2);
    expect(kit.server.requests.byOperation()).toEqual({ PutObject: 1, GetObject: 2 });
    kit.server.requests.clear();
    expect(kit.server.requests.count()).toBe(0);
  });

  test('shows its objects as plain files', async () => {
    await put('photos/cat.jpg', 'meow');
    expect(existsSync(join(kit.dir, Bucket, 'objects', 'photos%2Fcat.jpg'))).toBe(true);
  });
});
