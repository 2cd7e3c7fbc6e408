import { expect, test } from 'vitest';
import type { Clock } from '../../lib/base/clock.ts';
import { defaultTableNames } from '../../lib/config/tables.ts';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { createDynamoStore } from '../../lib/store/dynamodb/dynamo-store.ts';
import { storeErrorOf } from '../../lib/store/dynamodb/errors.ts';
import type { Change, Store } from '../../lib/store/port.ts';
import { item, objectAt, putItem, putObject, record } from '../contracts/store-fixtures.ts';
import { localClient } from '../contracts/store-on-dynamodb.ts';
import { usageOf } from '../support/usage.ts';
import { errorReply, type Reply, type ScriptedServer, scriptedDynamo } from './scripted-dynamodb.ts';

/** A clock whose sleeps are over at once, and counted. */
function instantClock(): Clock & { sleeps: number[] } {
  const sleeps: number[] = [];
  return {
    sleeps,
    now: () => 0,
    sleep: async (ms) => {
      sleeps.push(ms);
    },
  };
}

/** Longer than an answer takes on any machine: only silence ends a request. */
const patienceMs = 60_000;

function storeAt(
  server: Pick<ScriptedServer, 'endpoint'>,
  clock: Clock = instantClock(),
  requestTimeoutMs = patienceMs,
): Store {
  const client = localClient(server.endpoint, { requestTimeoutMs, maxAttempts: 2 });
  return createDynamoStore({ client, tables: defaultTableNames, clock, ids: { ulid: () => '', random: () => 0.5 } });
}

const cancelled = (...reasons: object[]): Reply =>
  errorReply('TransactionCanceledException', { CancellationReasons: reasons, Message: 'Transaction cancelled' });

const addition: Change = { kind: 'add', pk: 'fleet', sk: 'a', add: { objects: 1, bytes: 1 } };

const lostAnswers: [string, Reply][] = [
  ['silence', 'hang'],
  ['a broken connection', 'reset'],
  ['an internal error', errorReply('InternalServerError', {}, 500)],
  ['an unavailable service', errorReply('ServiceUnavailable', {}, 503)],
  ['a gateway\u2019s error page', { status: 502, body: {} }],
];

test.each(lostAnswers)('after %s the effect of a write is unknown, and it is not sent again', async (_, reply) => {
  await using server = await scriptedDynamo(() => reply);
  const store = storeAt(server, instantClock(), reply === 'hang' ? 100 : patienceMs);
  const unanswered = {
    name: 'StoreError',
    kind: 'unanswered',
    message: expect.stringContaining('had its effect: DynamoDB did not answer'),
  };
  await expect(store.transact([addition], 't')).rejects.toMatchObject(unanswered);
  await expect(store.write(putItem(item('a')))).rejects.toMatchObject(unanswered);
  await expect(
    store.addUsage('2024-01', { b2: usageOf({ requests: 1, egressBytes: 0, ingressBytes: 0 }) }, 'u'),
  ).rejects.toMatchObject(unanswered);
  const request = { worker: 'w', part: '0/1', holder: 'h', now: 0, expiresAt: 1 };
  await expect(store.acquireLease(request)).rejects.toMatchObject(unanswered);
  expect(server.received).toHaveLength(4);
});

test.each(lostAnswers)('after %s a read is sent again', async (_, reply) => {
  await using server = await scriptedDynamo((_request, nth) => (nth === 1 ? reply : { body: { Items: [], Count: 0 } }));
  // The second answer has this long to come.
  const store = storeAt(server, instantClock(), reply === 'hang' ? 3_000 : patienceMs);
  expect(await store.control('fleet')).toEqual({ counters: [], rows: [] });
  expect(server.received).toHaveLength(2);
});

test('a transaction still in progress is an unknown answer', async () => {
  await using server = await scriptedDynamo(() => errorReply('TransactionInProgressException'));
  await expect(storeAt(server).transact([addition], 't')).rejects.toMatchObject({ kind: 'unanswered' });
});

test('a throttled write is sent again with its token, then reported as certainly without effect', async () => {
  await using server = await scriptedDynamo(() => errorReply('ThrottlingException'));
  await expect(storeAt(server).transact([addition], 'token-1')).rejects.toMatchObject({ kind: 'throttled' });
  expect(server.received.map(({ body }) => body.ClientRequestToken)).toEqual(['token-1', 'token-1']);
});

test('conflicts are refusals, in their places', async () => {
  const conflict = { Code: 'TransactionConflict', Message: 'Transaction is ongoing for the item' };
  await using server = await scriptedDynamo(({ operation }) =>
    operation === 'PutItem' ? errorReply('TransactionConflictException') : cancelled({ Code: 'None' }, conflict),
  );
  const store = storeAt(server);
  expect(await store.transact([addition, putItem(item('a'))], 't')).toEqual({
    outcome: 'refused',
    refusals: [null, { cause: 'conflict' }],
  });
  expect(await store.write(putItem(item('a')))).toEqual({ outcome: 'refused', refusal: { cause: 'conflict' } });
});

test.each([
  ['throttled', ['ThrottlingError']],
  ['throttled', ['None', 'ConditionalCheckFailed', 'ProvisionedThroughputExceeded']],
  ['rejected', ['ItemCollectionSizeLimitExceeded']],
  ['rejected', ['ThrottlingError', 'ValidationError']],
])('a cancellation is %s for the reasons %j', async (kind, codes) => {
  await using server = await scriptedDynamo(() => cancelled(...codes.map((Code) => ({ Code, Message: 'm' }))));
  const changes = codes.map((code): Change => ({ ...addition, sk: code }));
  await expect(storeAt(server).transact(changes, 't')).rejects.toMatchObject({ kind });
});

test('usage is added again with the same token while other writers are in the way', async () => {
  await using server = await scriptedDynamo((_, nth) =>
    nth < 3 ? cancelled({ Code: 'TransactionConflict' }) : { body: {} },
  );
  await storeAt(server).addUsage('2024-01', { b2: usageOf({ requests: 1, egressBytes: 0, ingressBytes: 0 }) }, 'u');
  expect(server.received).toHaveLength(3);
  expect(new Set(server.received.map(({ text }) => text)).size).toBe(1);
});

test('keys that a batch leaves out are asked for again, later and later', async () => {
  const clock = instantClock();
  await using server = await scriptedDynamo(({ body }, nth) => {
    const table = defaultTableNames.objects;
    const { Keys } = (body.RequestItems as Record<string, { Keys: { key: { S: string } }[] }>)[table]!;
    const isServed = nth > 2;
    return {
      body: {
        Responses: { [table]: isServed ? [tombstoneItem(Keys[0]!.key.S)] : [] },
        UnprocessedKeys: isServed && Keys.length === 1 ? {} : { [table]: { Keys: isServed ? Keys.slice(1) : Keys } },
      },
    };
  });
  expect([...(await storeAt(server, clock).objects(['a', 'b', 'c'])).keys()]).toEqual(['a', 'b', 'c']);
  expect(clock.sleeps.slice(0, 2)).toEqual([50, 100]);
});

test('a batch that makes no progress is throttled', async () => {
  await using server = await scriptedDynamo(({ body }) => ({ body: { UnprocessedKeys: body.RequestItems } }));
  await expect(storeAt(server).objects(['a'])).rejects.toMatchObject({ kind: 'throttled' });
});

test.each(['AccessDeniedException', 'UnrecognizedClientException', 'ExpiredTokenException'])(
  '%s is denied',
  async (name) => {
    await using server = await scriptedDynamo(() => errorReply(name));
    await expect(storeAt(server).control('fleet')).rejects.toMatchObject({
      kind: 'denied',
      message: expect.stringContaining(`"${defaultTableNames.control}"`),
    });
  },
);

const named = (name: string, message = 'M.') => Object.assign(new Error(message), { name });

test.each([
  [named('CredentialsProviderError'), 'denied', /this process has no AWS credentials; set AWS_ACCESS_KEY_ID/],
  [named('InvalidSignatureException'), 'denied', /check AWS_SECRET_ACCESS_KEY, and that AWS_REGION/],
  [named('InvalidSignatureException', 'Signature expired: 1 is now earlier than 2'), 'denied', /set the clock/],
  [named('UnrecognizedClientException'), 'denied', /check AWS_ACCESS_KEY_ID and AWS_REGION/],
  [named('ExpiredTokenException'), 'denied', /temporary credentials that have expired/],
  [named('AccessDeniedException'), 'denied', /check what these credentials may do/],
  [
    Object.assign(new Error('write EPROTO'), { code: 'EPROTO' }),
    'rejected',
    /does not speak TLS; check AWS_ENDPOINT_URL/,
  ],
  [new SyntaxError('Unexpected token <'), 'rejected', /is no DynamoDB; check AWS_ENDPOINT_URL_DYNAMODB/],
  [named('Unknown', 'UnknownError'), 'rejected', /is no DynamoDB; check AWS_ENDPOINT_URL_DYNAMODB/],
] as const)('%s is said with what to look at', (error, kind, sentence) => {
  const { message, kind: found } = storeErrorOf(error, { doing: 'read the fleet', tables: ['control'] });
  expect({ found, message }).toEqual({ found: kind, message: expect.stringMatching(sentence) });
});

test('an S3 server in the place of DynamoDB is named as such', async () => {
  await using server = await scriptedDynamo(() => ({ status: 404, body: {} }));
  await expect(storeAt(server).control('fleet')).rejects.toThrow(/is no DynamoDB; check AWS_ENDPOINT_URL_DYNAMODB/);
});

test('what DynamoDB finds invalid is rejected', async () => {
  await using server = await scriptedDynamo(() => errorReply('ValidationException'));
  await expect(storeAt(server).control('fleet')).rejects.toMatchObject({ kind: 'rejected' });
});

test('an endpoint that nothing listens on is unreachable, for reads and writes', async () => {
  const server = await scriptedDynamo(() => 'reset');
  await server[Symbol.asyncDispose]();
  const store = storeAt(server);
  const unreachable = {
    kind: 'unreachable',
    message: expect.stringContaining(server.endpoint.slice('http://'.length)),
  };
  await expect(store.objects(['a'])).rejects.toMatchObject(unreachable);
  await expect(store.transact([addition], 't')).rejects.toMatchObject(unreachable);
});

test.each([
  ['unreachable', Object.assign(new Error('getaddrinfo ENOTFOUND x'), { code: 'ENOTFOUND' })],
  ['unreachable', Object.assign(new AggregateError([new Error('a'), new Error('b')]), { code: 'ECONNREFUSED' })],
  ['unanswered', Object.assign(new Error('aborted'), { name: 'AbortError' })],
  ['denied', Object.assign(new Error('Could not load credentials'), { name: 'CredentialsProviderError' })],
  ['rejected', new TypeError('x is not a function')],
])('%s comes from %s', (kind, error) => {
  expect(storeErrorOf(error, { doing: 'test', tables: ['t'] })).toMatchObject({ kind, cause: error });
});

test('a write whose answer was lost took effect once, however often its request is repeated', async () => {
  const dynamo = await startDynamo();
  try {
    await createTables(localClient(dynamo.endpoint), defaultTableNames, instantClock());
    await using proxy = await scriptedDynamo(async ({ operation, text }) => {
      const body = await forward(dynamo.endpoint, operation, text);
      return operation === 'TransactWriteItems' ? 'reset' : { body };
    });
    const lossy = storeAt(proxy);
    const changes = [putObject(record('a')), addition];
    await expect(lossy.transact(changes, 'lost')).rejects.toMatchObject({ kind: 'unanswered' });
    expect(await objectAt(lossy, 'a')).toEqual(record('a'));
    expect(await storeAt(dynamo).transact(changes, 'lost')).toEqual({ outcome: 'done', writeUnits: 0 });
    expect((await lossy.control('fleet')).counters).toEqual([{ sk: 'a', count: { objects: 1, bytes: 1 } }]);
  } finally {
    await dynamo.close();
  }
});

async function forward(endpoint: string, operation: string, text: string): Promise<object> {
  const credential =
    'AWS4-HMAC-SHA256 Credential=a/20240101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0';
  const headers = {
    'x-amz-target': `DynamoDB_20120810.${operation}`,
    'content-type': 'application/x-amz-json-1.0',
    authorization: credential,
    'x-amz-date': '20240101T000000Z',
  };
  const answer = await fetch(endpoint, { method: 'POST', headers, body: text });
  return (await answer.json()) as object;
}

function tombstoneItem(key: string) {
  return { key: { S: key }, generation: { S: 'g' }, rev: { N: '1' }, deletedAt: { N: '1' } };
}
