import { createServer, request as send } from 'node:http';
import { defined } from '../../../lib/base/defined.ts';
import { operationOf } from '../../../lib/local/s3/operations.ts';
import { listenOnLoopback } from '../../support/loopback.ts';
import type { Need } from './iam.ts';

/** A request on its way to a server, as it was seen. */
interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  status: number;
}

export interface Recorder {
  readonly endpoint: string;
  /** What the requests since the last call of this need to be allowed. */
  take(): Need[];
  close(): Promise<void>;
}

/** Stands before a server, passes everything on as it is, and notes what each request needs. */
export async function record(target: string, needs: (seen: Seen) => Need[]): Promise<Recorder> {
  const { hostname, port } = new URL(target);
  const seen: Seen[] = [];
  const server = createServer((from, answer) => {
    const chunks: Buffer[] = [];
    const to = send({ hostname, port, method: from.method, path: from.url, headers: from.headers }, (reply) => {
      const one: Seen = {
        method: from.method!,
        url: new URL(from.url!, target),
        headers: from.headers,
        body: Buffer.concat(chunks),
        status: reply.statusCode!,
      };
      seen.push(one);
      answer.writeHead(reply.statusCode!, reply.rawHeaders);
      reply.pipe(answer);
    });
    to.on('error', () => answer.destroy());
    from.on('data', (chunk: Buffer) => chunks.push(chunk));
    from.pipe(to);
  });
  const endpoint = await listenOnLoopback(server);
  return {
    endpoint,
    take: () => seen.splice(0).flatMap(needs),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const tableArn = (name: string) => `arn:aws:dynamodb:us-east-1:123456789012:table/${name}`;

/** A transaction needs the actions of its parts. */
export function dynamoNeeds({ headers, body }: Seen): Need[] {
  const action = String(headers['x-amz-target']).replace(/^DynamoDB_\d+\./, '');
  const input = JSON.parse(body.toString()) as {
    TableName: string;
    IndexName?: string;
    RequestItems?: Record<string, unknown>;
    TransactItems?: Record<string, { TableName: string }>[];
  };
  const need = (name: string, table: string, index?: string): Need => ({
    action: `dynamodb:${name}`,
    resource: tableArn(table) + (index === undefined ? '' : `/index/${index}`),
  });
  if (input.TransactItems) {
    const names: Record<string, string> = {
      Put: 'PutItem',
      Update: 'UpdateItem',
      Delete: 'DeleteItem',
      ConditionCheck: 'ConditionCheckItem',
    };
    return input.TransactItems.flatMap((item) =>
      Object.entries(item).map(([kind, { TableName }]) => need(names[kind]!, TableName)),
    );
  }
  if (input.RequestItems) return Object.keys(input.RequestItems).map((table) => need(action, table));
  return [need(action, input.TableName, input.IndexName)];
}

/** Path-style requests, as the S3 documentation says what each needs. */
export function s3Needs({ method, url, headers, body, status }: Seen): Need[] {
  const [, bucket = '', ...rest] = decodeURIComponent(url.pathname).split('/');
  const key = rest.join('/');
  const query = new Map(url.searchParams);
  const named = new Map(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  const operation = operationOf({ method, bucket, key, query, headers: named });
  const onKey = (action: string, at = key): Need => ({
    action: `s3:${action}`,
    resource: `arn:aws:s3:::${bucket}/${at}`,
  });
  /** As the documentation of conditional writes says which requests make an object, and which carry a condition. */
  const writes = (name: string): Need => ({
    ...onKey('PutObject'),
    context: {
      's3:ObjectCreationOperation': String(['PutObject', 'CompleteMultipartUpload', 'CopyObject'].includes(name)),
      ...defined({ 's3:if-none-match': named.get('if-none-match') }),
    },
  });
  const onBucket = (action: string): Need => {
    const prefix = query.get('prefix');
    return {
      action: `s3:${action}`,
      resource: `arn:aws:s3:::${bucket}`,
      ...defined({ context: prefix === undefined ? undefined : { 's3:prefix': prefix } }),
    };
  };
  switch (operation) {
    case 'GetObject':
    case 'HeadObject':
      // Without it, S3 answers 403 for a key that is not there.
      return status === 404 ? [onKey('GetObject'), onBucket('ListBucket')] : [onKey('GetObject')];
    case 'PutObject':
    case 'CreateMultipartUpload':
      return named.has('x-amz-tagging') ? [writes(operation), onKey('PutObjectTagging')] : [writes(operation)];
    case 'GetObjectTagging':
    case 'PutObjectTagging':
      return [onKey(operation)];
    case 'UploadPart':
    case 'CompleteMultipartUpload':
      return [writes(operation)];
    case 'CopyObject':
    case 'UploadPartCopy':
      return [
        writes(operation),
        ...(named.has('x-amz-tagging') ? [onKey('PutObjectTagging')] : []),
        {
          action: 's3:GetObject',
          resource: `arn:aws:s3:::${decodeURIComponent(named.get('x-amz-copy-source')!).replace(/^\//, '')}`,
        },
      ];
    case 'ListParts':
      return [onKey('ListMultipartUploadParts')];
    case 'AbortMultipartUpload':
      return [onKey('AbortMultipartUpload')];
    case 'ListObjects':
    case 'ListObjectsV2':
      return [onBucket('ListBucket')];
    case 'ListObjectVersions':
      return [onBucket('ListBucketVersions')];
    case 'ListMultipartUploads':
      return [onBucket('ListBucketMultipartUploads')];
    case 'DeleteObject':
      return [onKey(query.has('versionId') ? 'DeleteObjectVersion' : 'DeleteObject')];
    case 'DeleteObjects':
      return [...body.toString().matchAll(/<Object>(.*?)<\/Object>/gs)].map(([, entry]) =>
        onKey(
          entry!.includes('<VersionId>') ? 'DeleteObjectVersion' : 'DeleteObject',
          unescapeXml(/<Key>(.*?)<\/Key>/s.exec(entry!)![1]!),
        ),
      );
    default:
      throw new Error(`The test does not know what ${operation} needs`);
  }
}

function unescapeXml(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&');
}

/** Secrets Manager has no embedded in-memory implementation: this one answers what it is given. */
export async function serveSecrets(secrets: Readonly<Record<string, string>>): Promise<Recorder> {
  const asked: Need[] = [];
  const server = createServer((from, answer) => {
    let body = '';
    from.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    from.on('end', () => {
      const { SecretId } = JSON.parse(body) as { SecretId: string };
      asked.push({
        action: `secretsmanager:${String(from.headers['x-amz-target']).split('.')[1]}`,
        resource: SecretId,
      });
      answer.setHeader('content-type', 'application/x-amz-json-1.1');
      answer.end(JSON.stringify({ ARN: SecretId, SecretString: secrets[SecretId] }));
    });
  });
  const endpoint = await listenOnLoopback(server);
  return {
    endpoint,
    take: () => asked.splice(0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
