import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { type Backend, BackendError, type Capabilities } from '../../lib/fleet/backend.ts';
import { listAll } from '../../lib/fleet/list-all.ts';
import { createS3Backend } from '../../lib/fleet/s3-backend.ts';
import { kindOf, someBytes } from '../contracts/backend-bytes.ts';
import { createManualClock } from '../support/fleet.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { keys } from './s3-kit.ts';

type Script = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** Answers that no honest server gives, but that some backend or a proxy before it does. */
describe('S3 backend and odd answers', () => {
  let script: Script = () => {};
  let seen: string[] = [];
  const server = createServer(async (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    if (script.length < 3) return script(request, response, '');
    script(request, response, (await collect(request)).toString());
  });
  let endpoint = '';
  beforeAll(async () => {
    endpoint = await listenOnLoopback(server);
  });
  beforeEach(() => {
    seen = [];
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const connect = (capabilities: Capabilities = {}, clock: Clock = systemClock) =>
    createS3Backend({
      name: 'odd',
      endpoint,
      region: 'us-east-1',
      bucket: 'odd-bucket',
      prefix: 'p/',
      pathStyle: true,
      credentials: keys,
      capabilities,
      clock,
      attempts: 1,
    });
  /** A clock by which nothing takes time but what a test lets pass, however busy the machine is. */
  const standingClock = () => createManualClock(Date.now(), { shortMs: 0 });
  /** Longer than a silence may last, and than the source of a body is waited for. */
  const longMs = 31_000;
  const answer = (status: number, headers: Record<string, string>, text: string) => {
    script = (_request, response) => response.writeHead(status, headers).end(text);
  };
  const listing = (inner: string, more = '<IsTruncated>false</IsTruncated>') =>
    answer(200, {}, `<ListBucketResult>${more}${inner}</ListBucketResult>`);
  const entry = (key: string) =>
    `<Contents><Key>${key}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag><LastModified>2024-01-02T03:04:05.678Z</LastModified></Contents>`;
  const truncated = '<IsTruncated>true</IsTruncated>';
  const url = '<EncodingType>url</EncodingType>';

  describe('in listings', () => {
    it('keys are decoded only where the backend says that it encoded them', async () => {
      listing(entry('p/a+b%20c'));
      expect((await connect().list({})).items[0]!.storageKey).toBe('a+b%20c');
      listing(url + entry('p/a+b%20c%2B%25%C3%A9%0A'));
      expect((await connect().list({})).items).toEqual([
        { storageKey: 'a b c+%\u00e9\n', sizeBytes: 1, etag: '"e"', lastModified: Date.UTC(2024, 0, 2, 3, 4, 5, 678) },
      ]);
    });

    it('a page that says that there is more, but not where, is an error', async () => {
      listing('', truncated);
      expect(await kindOf(connect().list({}))).toBe('unavailable');
      expect(await kindOf(connect({ listsInByteOrder: true }).list({}))).toBe('unavailable');
      listing(entry('p/a'), truncated);
      expect(await kindOf(connect().list({}))).toBe('unavailable');
    });

    it('an empty page with a token goes on with the token', async () => {
      listing('', `${truncated}<NextContinuationToken>to/ken+=</NextContinuationToken>`);
      for (const capabilities of [{}, { listsInByteOrder: true }]) {
        const { items, next } = await connect(capabilities).list({});
        expect(items).toEqual([]);
        await connect(capabilities)
          .list({ from: next! })
          .catch(() => {});
        const asked = new URL(seen.at(-1)!.split(' ')[1]!, endpoint).searchParams;
        expect([asked.get('continuation-token'), asked.get('start-after')]).toEqual(['to/ken+=', null]);
      }
    });

    it('goes on after the last key where keys come in byte order, with the token elsewhere', async () => {
      listing(entry('p/a') + entry('p/b'), `${truncated}<NextContinuationToken>token</NextContinuationToken>`);
      const position = async (capabilities: Capabilities) => {
        const { next } = await connect(capabilities).list({});
        seen = [];
        await connect(capabilities)
          .list({ from: next! })
          .catch(() => {});
        const asked = new URL(seen[0]!.split(' ')[1]!, endpoint).searchParams;
        return [asked.get('start-after'), asked.get('continuation-token')];
      };
      expect(await position({ listsInByteOrder: true })).toEqual(['p/b', null]);
      expect(await position({ listsInByteOrder: false })).toEqual([null, 'token']);
      expect(await position({})).toEqual([null, 'token']);
    });

    it('a page that does not get past the one before is an error [odd-answers-are-errors]', async () => {
      listing(entry('p/a'), truncated);
      expect(await kindOf(connect({ listsInByteOrder: true }).list({ from: { afterKey: 'a' } }))).toBe('unavailable');
    });

    it('a page that goes back is an error where keys come in byte order [odd-answers-are-errors]', async () => {
      listing(entry('p/a'), truncated);
      const list = connect({ listsInByteOrder: true }).list({ from: { afterKey: 'b' } });
      expect(await kindOf(list)).toBe('unavailable');
    });

    it('parts and uploads whose pages go round are an error', async () => {
      script = (request, response) => {
        const asked = new URL(request.url!, endpoint).searchParams;
        const next = (asked.get('part-number-marker') ?? asked.get('upload-id-marker')) === '1' ? '2' : '1';
        response.end(
          asked.has('uploads')
            ? `<ListMultipartUploadsResult>${truncated}<NextKeyMarker>p/k</NextKeyMarker>
              <NextUploadIdMarker>${next}</NextUploadIdMarker></ListMultipartUploadsResult>`
            : `<ListPartsResult>${truncated}<NextPartNumberMarker>${next}</NextPartNumberMarker></ListPartsResult>`,
        );
      };
      expect(await kindOf(connect().listParts('k', 'u'))).toBe('unavailable');
      expect(await kindOf(connect().openUploads('k'))).toBe('unavailable');
      expect(seen).toHaveLength(8);
    });

    it.each([
      ['parts', (backend: Backend) => backend.listParts('k', 'u')],
      ['uploads', (backend: Backend) => backend.openUploads('k')],
      ['versions', (backend: Backend) => backend.delete([{ storageKey: 'k' }])],
      ['keys', (backend: Backend) => listAll(backend, 'k')],
    ])(
      '%s of which every page says that there is more, always elsewhere, and names nothing new, are an error',
      async (_, ask) => {
        let pages = 0;
        script = (_request, response) => {
          pages += 1;
          if (pages > 1_000) return void response.destroy();
          const more = `${truncated}<NextContinuationToken>${pages}</NextContinuationToken><NextPartNumberMarker>${pages}</NextPartNumberMarker>
          <NextKeyMarker>p/k</NextKeyMarker><NextUploadIdMarker>${pages}</NextUploadIdMarker><NextVersionIdMarker>${pages}</NextVersionIdMarker>`;
          response.end(`<Result>${more}${entry('p/k')}<Part><PartNumber>1</PartNumber></Part>
          <Upload><Key>p/k</Key><UploadId>u</UploadId></Upload><Version><Key>p/k</Key><VersionId>v</VersionId></Version></Result>`);
        };
        expect(await kindOf(ask(connect({ keepsVersions: true })))).toBe('unavailable');
        expect(pages).toBeLessThan(110);
      },
    );

    it('a key outside the prefix, or one that cannot be read, is named apart from the others', async () => {
      listing(entry('p/a') + entry('other/a') + entry('p/b'));
      expect(await connect().list({})).toMatchObject({
        items: [{ storageKey: 'a' }, { storageKey: 'b' }],
        unreadable: ['other/a'],
      });
      listing(url + entry('p/%FF%') + entry('p/c'));
      expect(await connect().list({})).toMatchObject({ items: [{ storageKey: 'c' }], unreadable: ['p/%FF%'] });
    });

    it('goes on with the token behind a key that cannot be read, which would be listed again behind the one before', async () => {
      const more = `${truncated}<NextContinuationToken>token</NextContinuationToken>`;
      listing(url + entry('p/a') + entry('p/%FF'), more);
      expect((await connect({ listsInByteOrder: true }).list({})).next).toEqual({ token: 'token' });
    });

    it('an object at the prefix itself has an empty storage key', async () => {
      listing(entry('p/') + entry('p/a'));
      expect((await connect().list({})).items.map(({ storageKey }) => storageKey)).toEqual(['', 'a']);
    });

    it('a page of a thousand quoted ETags is read', async () => {
      listing(Array.from({ length: 1000 }, (_, i) => entry(`p/${i} &amp; &#x2764;`)).join(''));
      const { items } = await connect().list({});
      expect(items).toHaveLength(1000);
      expect(items[7]!.storageKey).toBe('7 & \u2764');
    });

    it('a page that is no listing is an error', async () => {
      for (const text of ['', 'not XML', '<html><body>Welcome</body></html>', '<ListBucketResult><Contents>']) {
        answer(200, {}, text);
        const s3 = connect({ keepsVersions: true });
        for (const call of [
          s3.list({}),
          s3.listParts('k', 'u'),
          s3.openUploads('k'),
          s3.delete([{ storageKey: 'k' }]),
        ]) {
          expect([text, await kindOf(call)]).toEqual([text, 'unavailable']);
        }
      }
    });
  });

  describe('to reads', () => {
    const asked = { range: [1, 2] } as const;

    it('a delete marker is not a missing key', async () => {
      answer(404, { 'x-amz-delete-marker': 'true' }, '<Error><Code>NoSuchKey</Code></Error>');
      expect(await kindOf(connect().get('k'))).toBe('delete-marker');
      expect(await kindOf(connect().head('k'))).toBe('delete-marker');
    });

    it('a range that was not heeded is an error, unless it is the whole [odd-answers-are-errors]', async () => {
      answer(200, { 'content-length': '5' }, 'abcde');
      expect(await kindOf(connect().get('k', asked))).toBe('unsupported');
      expect((await collect((await connect().get('k', { range: [0, 9] })).body)).toString()).toBe('abcde');
      answer(206, { 'content-length': '2', 'content-range': 'bytes 0-1/5' }, 'ab');
      expect(await kindOf(connect().get('k', asked))).toBe('unsupported');
    });

    it('a part that nobody asked for is no whole object [odd-answers-are-errors]', async () => {
      answer(206, { 'content-length': '2', 'content-range': 'bytes 0-1/5' }, 'ab');
      expect(await kindOf(connect().get('k'))).toBe('unsupported');
      answer(206, { 'content-length': '2', 'content-range': 'bytes 0-1/2' }, 'ab');
      expect((await collect((await connect().get('k')).body)).toString()).toBe('ab');
    });

    it('a part that does not say of what size the whole is says nothing of it [odd-answers-are-errors]', async () => {
      answer(206, { 'content-length': '2' }, 'ab');
      expect(await kindOf(connect().get('k', { range: [0, 1] }))).toBe('unsupported');
    });

    it('an If-Match that was not heeded is a failed precondition', async () => {
      answer(200, { 'content-length': '5', etag: '"other"' }, 'abcde');
      expect(await kindOf(connect().get('k', { ifMatch: '"mine"' }))).toBe('precondition');
    });

    it('a body without a length is refused: nobody could tell whether it is whole', async () => {
      script = (_request, response) => {
        response.writeHead(200);
        response.write('abc');
        response.end();
      };
      expect(await kindOf(connect().get('k'))).toBe('unacceptable');
    });

    it('a page of a proxy is an unavailable backend', async () => {
      answer(502, { 'content-type': 'text/html' }, '<html><hr>Bad Gateway</html>');
      expect(await kindOf(connect().get('k'))).toBe('unavailable');
    });

    it('what is not HTTP is an unavailable backend', async () => {
      script = (_request, response) => void response.socket!.end('SSH-2.0-OpenSSH\r\n');
      expect(await kindOf(connect().get('k'))).toBe('unavailable');
    });

    it('the checksum of a multipart object is no SHA-256 of it', async () => {
      const digest = Buffer.alloc(32, 1).toString('base64');
      answer(200, { 'content-length': '5', 'x-amz-checksum-sha256': `${digest}-2` }, '');
      expect((await connect().head('k'))!.sha256).toBeUndefined();
      answer(200, { 'content-length': '5', 'x-amz-checksum-sha256': digest, 'x-amz-checksum-type': 'COMPOSITE' }, '');
      expect((await connect().head('k'))!.sha256).toBeUndefined();
      answer(200, { 'content-length': '5', 'x-amz-checksum-sha256': digest }, '');
      expect((await connect().head('k'))!.sha256).toBe('01'.repeat(32));
    });

    it('metadata is the text that was meant, in whichever form a backend sends it', async () => {
      const words = {
        encoded: '=?UTF-8?B?w6k=?=',
        quoted: '=?iso-8859-1?Q?caf=E9_?= =?UTF-8?Q?=21?=',
        odd: '=?x-none?B?w6k=?=',
      };
      const raw = { latin: 'caf\u00e9', utf8: Buffer.from('caf\u00e9 \u65e5').toString('latin1') };
      const headers = Object.entries({ ...words, ...raw }).map(([name, value]) => [`x-amz-meta-${name}`, value]);
      answer(200, { 'content-length': '0', ...Object.fromEntries(headers) }, '');
      expect((await connect().head('k'))!.metadata).toEqual({
        encoded: '\u00e9',
        quoted: 'caf\u00e9 !',
        odd: words.odd,
        latin: 'caf\u00e9',
        utf8: 'caf\u00e9 \u65e5',
      });
    });

    it.each([
      ['2026-01-02T03:04:05.000Z', Date.UTC(2026, 0, 2, 3, 4, 5)],
      ['Fri, 02 Jan 2026 03:04:05 GMT', Date.UTC(2026, 0, 2, 3, 4, 5)],
      ['some day', undefined],
    ])('a date in another form (%s) is no outage', async (date, lastModified) => {
      answer(
        200,
        { 'content-length': '3', etag: '"e"', 'last-modified': date, expires: 'never', 'x-amz-abort-date': date },
        'abc',
      );
      expect((await connect().head('k'))?.lastModified).toBe(lastModified);
      const found = await connect().get('k');
      expect([found.lastModified, (await collect(found.body)).toString()]).toEqual([lastModified, 'abc']);
      answer(
        200,
        { 'x-amz-abort-date': date },
        '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>',
      );
      expect(await connect().createUpload({ storageKey: 'k' })).toEqual({ uploadId: 'u' });
      const part = `<Part><PartNumber>1</PartNumber><Size>3</Size><ETag>"p"</ETag><LastModified>${date}</LastModified></Part>`;
      answer(
        200,
        { 'x-amz-abort-date': date },
        `<ListPartsResult><IsTruncated>false</IsTruncated>${part}</ListPartsResult>`,
      );
      expect(await connect().listParts('k', 'u')).toEqual([{ partNumber: 1, etag: '"p"', sizeBytes: 3 }]);
    });

    it('an ETag has one form, whichever a backend writes', async () => {
      for (const etag of ['"abc"', 'abc', 'W/"abc"']) {
        answer(200, { 'content-length': '0', etag }, '');
        expect((await connect().head('k'))?.etag).toBe('"abc"');
        expect((await connect().get('k', { ifMatch: 'abc' })).etag).toBe('"abc"');
      }
    });

    it('what one upload was framed with is no encoding of the object', async () => {
      for (const [stored, kept] of [
        ['aws-chunked', undefined],
        ['gzip, aws-chunked', 'gzip'],
        ['gzip', 'gzip'],
      ] as const) {
        answer(200, { 'content-length': '0', 'content-encoding': stored }, '');
        expect((await connect().head('k'))?.headers.contentEncoding).toBe(kept);
      }
    });

    it('objects are asked for as they are stored, and that is not signed', async () => {
      const asked: IncomingMessage['headers'][] = [];
      script = (request, response) => {
        asked.push(request.headers);
        response.writeHead(200, { 'content-length': '0' }).end();
      };
      await connect().head('k');
      await connect().get('k');
      for (const { 'accept-encoding': encoding, authorization } of asked)
        expect([encoding, authorization?.includes('accept-encoding')]).toEqual(['gzip', false]);
    });

    it('a body that trickles is a stalled one', async () => {
      let trickle = () => {};
      script = (_request, response) => {
        trickle = () => response.write('x');
        response.writeHead(200, { 'content-length': '1000' });
        trickle();
      };
      const clock = standingClock();
      const chunks = (await connect({}, clock).get('k')).body[Symbol.asyncIterator]();
      await chunks.next();
      const reading = (async () => {
        for (;;) {
          const next = chunks.next();
          clock.advance(4_000);
          trickle();
          await next;
        }
      })();
      await expect(reading).rejects.toMatchObject({ kind: 'timeout', message: expect.stringContaining('only') });
    });

    it('a consumer that takes its time is not a stalled backend', async () => {
      script = (_request, response) => response.writeHead(200, { 'content-length': '1000' }).end('x'.repeat(1000));
      const clock = standingClock();
      const { body } = await connect({}, clock).get('k');
      clock.advance(longMs);
      expect((await collect(body)).length).toBe(1000);
    });

    it('an answer that is not the body of an object is bounded', async () => {
      answer(
        200,
        {},
        `<ListBucketResult><IsTruncated>false</IsTruncated>${'x'.repeat(8 * 2 ** 20)}</ListBucketResult>`,
      );
      expect(await kindOf(connect().list({}))).toBe('unavailable');
    });

    it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])(
      'a code of %s is an unknown one',
      async (code) => {
        answer(400, {}, `<Error><Code>${code}</Code></Error>`);
        expect(await kindOf(connect().get('k'))).toBe('rejected');
        expect(await kindOf(connect().put({ storageKey: 'k', sizeBytes: 0, body: bodyOf(Buffer.alloc(0)) }))).toBe(
          'rejected',
        );
      },
    );
  });

  it('a HEAD answer that says SlowDown in the only place it can is throttling', async () => {
    script = (_request, response) => response.writeHead(503, 'Slow Down').end();
    expect(await kindOf(connect().head('k'))).toBe('throttled');
  });

  describe('to writes', () => {
    const big = 1024 * 1024;

    it('a success before all bytes were sent is not believed [odd-answers-are-errors]', async () => {
      answer(200, { etag: '"e"' }, '');
      const body = (async function* () {
        yield someBytes(1000);
        await new Promise(() => {}); // the rest never comes
      })();
      expect(await kindOf(connect().put({ storageKey: 'k', sizeBytes: big, body }))).toBe('unavailable');
    });

    it('a backend that gives up waiting for a silent source is not to blame', async () => {
      answer(400, {}, '<Error><Code>RequestTimeout</Code></Error>');
      const body = (async function* () {
        yield someBytes(1000);
        await new Promise(() => {}); // the rest never comes
      })();
      const clock = standingClock();
      const putting = kindOf(connect({}, clock).put({ storageKey: 'k', sizeBytes: big, body }));
      await clock.untilAsleep(longMs);
      clock.advance(longMs);
      expect(await putting).toBe('body');
    });

    describe('that are cut off while the source owes bytes', () => {
      const cutOff = () => {
        script = (request) => void request.once('data', () => setTimeout(() => request.socket.destroy(), 20));
        // Two arguments: the body is not waited for.
      };
      const sourceThat = async function* (goesOn: () => Promise<unknown>) {
        yield someBytes(500_000);
        await goesOn();
        yield someBytes(big - 500_000);
      };
      const put = (goesOn: () => Promise<unknown>, clock = standingClock()) =>
        connect({}, clock)
          .put({ storageKey: 'k', sizeBytes: big, body: sourceThat(goesOn) })
          .catch((error: unknown) => error as BackendError);
      const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

      it('the source is to blame that fails in the end', async () => {
        cutOff();
        const stall = new BackendError('timeout', 'source', 'It stalls');
        const error = await put(async () => {
          await later(150);
          throw stall;
        });
        expect(error).toMatchObject({ kind: 'body', cause: stall });
      });

      it('the source is to blame that never goes on', async () => {
        cutOff();
        const clock = standingClock();
        const putting = put(() => new Promise(() => {}), clock);
        await clock.untilAsleep(longMs);
        clock.advance(longMs);
        expect(await putting).toMatchObject({
          kind: 'body',
          cause: { name: 'SourceSilence' },
        });
      });

      it('the backend is to blame where the bytes come soon', async () => {
        cutOff();
        expect(await put(() => later(60))).toMatchObject({ kind: 'unavailable' });
      });
    });

    it('a success without an ETag is not believed [odd-answers-are-errors]', async () => {
      answer(200, {}, '<html><body>Welcome</body></html>');
      const at = { storageKey: 'k', uploadId: 'u', partNumber: 1, sizeBytes: 0 };
      const body = (async function* () {})();
      expect(await kindOf(connect().put({ ...at, body }))).toBe('unavailable');
      expect(await kindOf(connect().uploadPart({ ...at, body }))).toBe('unavailable');
      const parts = [{ partNumber: 1, etag: '"e"', sizeBytes: 1 }];
      expect(await kindOf(connect().completeUpload({ ...at, parts }))).toBe('unavailable');
    });

    it('bytes are sent as they are: a length, a digest or none, no framing, no Expect', async () => {
      const sent: IncomingMessage['headers'][] = [];
      script = (request, response, _body) => {
        sent.push(request.headers);
        response.writeHead(200, { etag: '"e"' }).end();
      };
      for (const sizeBytes of [10, 3 * big]) {
        const bytes = someBytes(sizeBytes);
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        const request = { storageKey: 'k', sizeBytes };
        await connect().put({ ...request, body: bodyOf(bytes), sha256 });
        await connect({ checksumSha256: true }).put({ ...request, body: bodyOf(bytes), sha256 });
        await connect({ checksumSha256: true }).put({ ...request, body: bodyOf(bytes) });
        const checksum = Buffer.from(sha256, 'hex').toString('base64');
        const unknown = sizeBytes === 10 ? sha256 : 'UNSIGNED-PAYLOAD';
        expect(sent.map((headers) => headers['x-amz-content-sha256'])).toEqual([sha256, sha256, unknown]);
        expect(sent.map((headers) => headers['x-amz-checksum-sha256'])).toEqual([undefined, checksum, undefined]);
        for (const headers of sent.splice(0)) {
          expect(headers['content-length']).toBe(String(sizeBytes));
          for (const name of [
            'transfer-encoding',
            'content-encoding',
            'expect',
            'x-amz-trailer',
            'x-amz-checksum-crc32',
          ]) {
            expect(headers[name]).toBeUndefined();
          }
        }
      }
    });

    it('a completion that failed after its 200 is an error', async () => {
      answer(200, {}, '<?xml version="1.0"?>\n   <Error><Code>InternalError</Code><Message>Again.</Message></Error>');
      const request = { storageKey: 'k', uploadId: 'u', parts: [{ partNumber: 1, etag: '"e"', sizeBytes: 1 }] };
      expect(await kindOf(connect().completeUpload(request))).toBe('unavailable');
    });

    it('metadata and keys that are no text are refused before anything is sent', async () => {
      const body = (async function* () {})();
      expect(await kindOf(connect().put({ storageKey: 'k', sizeBytes: 0, body, metadata: { a: 'half \ud800' } }))).toBe(
        'unacceptable',
      );
      expect(await kindOf(connect().head('half a pair \ud800'))).toBe('rejected');
      expect(seen).toEqual([]);
    });
  });

  describe('to deletes', () => {
    const requests = ['a', 'b', 'c', 'd'].map((storageKey) => ({ storageKey }));

    it('names an error for the key it is about, and asks again for keys passed over in silence', async () => {
      script = (request, response, body) => {
        expect(body).toBeDefined();
        if (request.method === 'DELETE') response.writeHead(204).end();
        else
          response.end(`<DeleteResult><Deleted><Key>p/a</Key></Deleted>
            <Error><Key>p/b</Key><Code>AccessDenied</Code><Message>No.</Message></Error>
            <Error><Key>p/c</Key><Code>NoSuchKey</Code></Error></DeleteResult>`);
      };
      const outcomes = await connect().delete(requests);
      expect(outcomes.map((o) => (o.outcome === 'failed' ? o.error.kind : o.outcome))).toEqual([
        'deleted',
        'denied',
        'deleted',
        'deleted',
      ]);
      expect(seen.filter((line) => line.startsWith('DELETE'))).toEqual(['DELETE /odd-bucket/p/d?x-id=DeleteObject']);
    });

    it('sends Content-MD5 and no checksum that a backend may not know', async () => {
      const sent: IncomingMessage['headers'][] = [];
      script = (request, response, body) => {
        sent.push({ ...request.headers, body });
        response.end('<DeleteResult/>');
      };
      await connect().delete(requests);
      expect(sent[0]!['content-md5']).toMatch(/^[A-Za-z0-9+/]{22}==$/);
      expect(Object.keys(sent[0]!).filter((name) => name.includes('checksum'))).toEqual([]);
    });

    it('deletes one by one where DeleteObjects is known to be missing, and keys that XML cannot hold', async () => {
      script = (request, response) => response.writeHead(request.method === 'DELETE' ? 204 : 501).end();
      expect(await connect({ bulkDelete: false }).delete(requests)).toHaveLength(4);
      expect(await connect().delete([{ storageKey: 'a\u0001' }, { storageKey: 'b ' }])).toHaveLength(2);
      expect(seen.every((line) => line.startsWith('DELETE'))).toBe(true);
    });

    it('never deletes on a condition where the backend may not heed it', async () => {
      for (const capabilities of [{}, { conditionalDelete: false }]) {
        const [outcome] = await connect(capabilities).delete([{ storageKey: 'a', ifMatch: '"e"' }]);
        expect(outcome).toMatchObject({ outcome: 'failed', error: { kind: 'unsupported' } });
      }
      expect(seen).toEqual([]);
    });

    it('ends each key as what was answered when one by one shows that the backend as a whole does not answer', async () => {
      answer(503, {}, '<Error><Code>SlowDown</Code></Error>');
      expect(await kindOf(connect({ bulkDelete: false }).delete(requests))).toBe('throttled');
    });

    it('of a listing of versions that goes round deletes nothing', async () => {
      script = (request, response) => {
        const asked = new URL(request.url!, endpoint).searchParams.get('version-id-marker');
        const next = asked === '1' ? '2' : '1';
        response.end(`<ListVersionsResult>${truncated}<NextKeyMarker>p/a</NextKeyMarker>
          <NextVersionIdMarker>${next}</NextVersionIdMarker>
          <Version><Key>p/a</Key><VersionId>${next}</VersionId></Version></ListVersionsResult>`);
      };
      expect(await kindOf(connect({ keepsVersions: true }).delete([{ storageKey: 'a' }]))).toBe('unavailable');
      expect(seen).toHaveLength(4);
    });

    it.each([
      ['one of the key without its id', '<Version><Key>p/a</Key></Version>'],
      ['none of a key that is there', ''],
    ])('a listing of versions that has %s is no deletion', async (_, versions) => {
      script = (request, response) => {
        const isHead = request.method === 'HEAD';
        response.writeHead(200, isHead ? { 'content-length': '1' } : {});
        const none = '<IsTruncated>false</IsTruncated>';
        response.end(isHead ? '' : `<ListVersionsResult>${none}${versions}</ListVersionsResult>`);
      };
      expect(await kindOf(connect({ keepsVersions: true }).delete([{ storageKey: 'a' }]))).toBe('unavailable');
    });

    it('of a listing of versions without an end deletes nothing', async () => {
      answer(200, {}, `<ListVersionsResult>${truncated}</ListVersionsResult>`);
      expect(await kindOf(connect({ keepsVersions: true }).delete(requests))).toBe('unavailable');
      expect(seen.every((line) => line.startsWith('GET'))).toBe(true);
    });
  });

  it('a put asks for no permission to send its body: a server that ignores the question would be waited for', async () => {
    let asked: string | undefined = 'nobody came';
    script = (request, response, body) => {
      asked = request.headers.expect;
      response.writeHead(200, { etag: `"${body.length}"` }).end();
    };
    const bytes = someBytes(3 * 2 ** 20);
    await connect().put({ storageKey: 'k', sizeBytes: bytes.length, body: bodyOf(bytes) });
    expect(asked).toBeUndefined();
  });
});
