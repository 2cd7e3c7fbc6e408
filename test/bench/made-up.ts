/**
 * A process of its own for benches of imports: a bucket whose listing is made up, in front of an embedded S3 server that keeps
 * everything else; and a front of a DynamoDB. Both answer after a while, and count what they were asked for.
 *
 * `made-up.ts <folder> <files> <ms per S3 request> <ms per DynamoDB request> <DynamoDB endpoint>`
 */
import { createHash } from 'node:crypto';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../lib/base/clock.ts';
import { createS3Server } from '../../lib/local/s3/server.ts';
import { listenOnLoopback } from '../support/loopback.ts';

/** What the servers were asked for since the last question. */
export interface Asked {
  readonly s3: Readonly<Record<string, number>>;
  readonly dynamodb: Readonly<Record<string, { readonly requests: number; readonly units: number }>>;
  /** Writes of each range of a pass, by its name. */
  readonly rangeWrites: Readonly<Record<string, number>>;
}

export interface Ready {
  readonly s3: string;
  readonly dynamodb: string;
  readonly bucket: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

const [dir, filesText, s3Ms, dynamoMs, dynamoEndpoint] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const files = Number(filesText);
const bucket = 'made-up';
const credentials = { accessKeyId: 'MADEUP', secretAccessKey: 'made-up-secret' };
let asked = nothingAsked();

function nothingAsked() {
  return {
    s3: {} as Record<string, number>,
    dynamodb: {} as Record<string, { requests: number; units: number }>,
    rangeWrites: {} as Record<string, number>,
  };
}

/** Keys in byte order, as a camera and a few years would make them. */
function keyAt(i: number): string {
  return `photos/2026/album-${String(Math.floor(i / 5000)).padStart(6, '0')}/IMG_${String(i).padStart(10, '0')}.jpg`;
}

/** The first file behind a key. */
function indexBehind(key: string): number {
  let [from, to] = [0, files];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (keyAt(middle) > key) to = middle;
    else from = middle + 1;
  }
  return from;
}

function entryOf(i: number): string {
  const key = keyAt(i);
  const md5 = createHash('md5').update(key).digest('hex');
  return `<Contents><Key>${encodeURIComponent(key).replaceAll('%2F', '/')}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;${md5}&quot;</ETag><Size>${100_000 + (i % 1000)}</Size><StorageClass>STANDARD</StorageClass></Contents>`;
}

function listing(query: URLSearchParams): string {
  const most = Math.min(1000, Number(query.get('max-keys') ?? 1000));
  const first = indexBehind(query.get('continuation-token') ?? query.get('start-after') ?? '');
  const last = Math.min(files, first + most);
  const isTruncated = last < files;
  const entries = Array.from({ length: last - first }, (_, i) => entryOf(first + i));
  const next = isTruncated ? `<NextContinuationToken>${keyAt(last - 1)}</NextContinuationToken>` : '';
  return `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><Prefix></Prefix><KeyCount>${entries.length}</KeyCount><MaxKeys>${most}</MaxKeys><EncodingType>url</EncodingType><IsTruncated>${isTruncated}</IsTruncated>${next}${entries.join('')}</ListBucketResult>`;
}

/** Passes a request on as it is; `onBody` sees the answer. */
function passOn(
  to: URL,
  agent: Agent,
  raw: IncomingMessage,
  response: ServerResponse,
  onBody?: (body: Buffer) => void,
) {
  const { method, url: path, headers } = raw;
  const sent = onBody === undefined ? raw : askingForUnits(raw, headers);
  const onward = request({ host: to.hostname, port: to.port, agent, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    if (onBody === undefined) return void answer.pipe(response);
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.on('end', () => {
      const body = Buffer.concat(chunks);
      onBody(body);
      response.end(body);
    });
  });
  onward.on('error', () => response.destroy());
  sent.pipe(onward);
}

/** Reads say what they cost only when they are asked. */
function askingForUnits(raw: IncomingMessage, headers: IncomingMessage['headers']): Readable {
  headers['transfer-encoding'] = 'chunked';
  delete headers['content-length'];
  return Readable.from(
    (async function* () {
      const chunks: Buffer[] = [];
      for await (const chunk of raw) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks).toString('utf8');
      if (/Transact|Put|Update/.test(String(headers['x-amz-target']))) countRangeWrites(body);
      yield body.includes('"ReturnConsumedCapacity"') || !body.endsWith('}') || body.length < 3
        ? body
        : `${body.slice(0, -1)},"ReturnConsumedCapacity":"TOTAL"}`;
    })(),
  );
}

function countRangeWrites(body: string): void {
  for (const [, range] of body.matchAll(/"S":"(range\/[^"]+)"/g))
    asked.rangeWrites[range!] = (asked.rangeWrites[range!] ?? 0) + 1;
}

function isMadeUp(url: URL): boolean {
  const prefix = url.searchParams.get('prefix') ?? '';
  return url.searchParams.get('list-type') === '2' && !prefix.startsWith('.holdfast');
}

const inner = await createS3Server({ dir, buckets: [bucket], credentials: [credentials], clock: systemClock });
const [toS3, toDynamo] = [new Agent({ keepAlive: true }), new Agent({ keepAlive: true })];
const s3 = createServer({ keepAliveTimeout: 0 }, async (raw, response) => {
  const url = new URL(raw.url!, 'http://made.up');
  const isListing = raw.method === 'GET' && isMadeUp(url);
  const name = isListing ? (url.searchParams.get('max-keys') === '1' ? 'LIST of one key' : 'LIST') : raw.method!;
  asked.s3[name] = (asked.s3[name] ?? 0) + 1;
  await sleep(Number(s3Ms));
  if (!isListing) return passOn(new URL(inner.endpoint), toS3, raw, response);
  response.writeHead(200, { 'content-type': 'application/xml' }).end(listing(url.searchParams));
});
const dynamodb = createServer({ keepAliveTimeout: 0 }, async (raw, response) => {
  const name = String(raw.headers['x-amz-target']).split('.').at(-1)!;
  await sleep(Number(dynamoMs));
  passOn(new URL(dynamoEndpoint), toDynamo, raw, response, (body) => {
    const { requests, units } = asked.dynamodb[name] ?? { requests: 0, units: 0 };
    asked.dynamodb[name] = { requests: requests + 1, units: units + unitsIn(body.toString('utf8')) };
  });
});

function unitsIn(body: string): number {
  const at = body.indexOf('"ConsumedCapacity"');
  if (at < 0) return 0;
  const { ConsumedCapacity } = JSON.parse(body) as { ConsumedCapacity?: Capacity | Capacity[] };
  return [ConsumedCapacity ?? []].flat().reduce((sum, { CapacityUnits = 0 }) => sum + CapacityUnits, 0);
}

interface Capacity {
  readonly CapacityUnits?: number;
}

const ready: Ready = {
  s3: await listenOnLoopback(s3),
  dynamodb: await listenOnLoopback(dynamodb),
  bucket,
  credentials,
};
process.on('message', () => {
  process.send!(asked);
  asked = nothingAsked();
});
process.on('disconnect', () => process.exit(0));
process.send!(ready);
