import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readEventMessages } from '../../lib/fleet/s3/event-documents.ts';

const eventBridge = (key: string, type = 'Object Created') => ({
  version: '0',
  source: 'aws.s3',
  'detail-type': type,
  account: '123456789012',
  detail: { bucket: { name: 'photos' }, object: { key, size: 5, etag: 'forged', sequencer: '00' } },
});
const notification = (key: string, eventName = 'ObjectCreated:Put') => ({
  Records: [
    { eventSource: 'aws:s3', eventName, s3: { bucket: { name: 'photos' }, object: { key, size: 5, eTag: 'x' } } },
  ],
});
const viaSqs = (...bodies: unknown[]) => ({
  Records: bodies.map((body, i) => ({ messageId: `m${i}`, eventSource: 'aws:sqs', body: JSON.stringify(body) })),
});
const viaSns = (document: unknown) => ({ Type: 'Notification', Message: JSON.stringify(document) });
const found = (key: string) => ({ bucket: 'photos', key });

test('a document of EventBridge names its key as it is; one of a notification as a form encodes it', () => {
  expect(readEventMessages(eventBridge('a+b %41é'))).toEqual([{ puts: [found('a+b %41é')] }]);
  expect(readEventMessages(notification('a%2Bb+%2541%C3%A9'))).toEqual([{ puts: [found('a+b %41é')] }]);
  expect(readEventMessages(notification('x', 's3:ObjectCreated:CompleteMultipartUpload'))).toEqual([
    { puts: [found('x')] },
  ]);
});

test('each message of a queue says what its document says, by itself, through SNS too', () => {
  const event = viaSqs(eventBridge('one'), notification('two'), viaSns(notification('three')), {
    Event: 's3:TestEvent',
  });
  expect(readEventMessages(event)).toEqual([
    { id: 'm0', puts: [found('one')] },
    { id: 'm1', puts: [found('two')] },
    { id: 'm2', puts: [found('three')] },
    { id: 'm3', puts: [] },
  ]);
  expect(readEventMessages({ Records: [{ EventSource: 'aws:sns', Sns: viaSns(notification('four')) }] })).toEqual([
    { puts: [found('four')] },
  ]);
});

test('a webhook’s body is the same document, encoded or not', () => {
  const body = JSON.stringify(notification('x'));
  expect(readEventMessages({ requestContext: {}, body })).toEqual([{ puts: [found('x')] }]);
  const encoded = { requestContext: {}, body: Buffer.from(body).toString('base64'), isBase64Encoded: true };
  expect(readEventMessages(encoded)).toEqual([{ puts: [found('x')] }]);
});

test('deletions, and what is no event of a bucket, say nothing', () => {
  const nothing = [
    eventBridge('x', 'Object Deleted'),
    notification('x', 'ObjectRemoved:Delete'),
    notification('%E0%A4%A'),
    eventBridge(''),
    { ...eventBridge('x'), detail: null },
    JSON.parse('{"Records":[{"eventName":"ObjectCreated:Put","s3":{"__proto__":{"bucket":{"name":"b"}}}}]}'),
  ];
  for (const event of nothing) expect(readEventMessages(event)).toEqual([{ puts: [] }]);
});

test('no document of any shape is an error', () => {
  fc.assert(
    fc.property(fc.anything(), fc.json(), (value, text) => {
      for (const event of [value, viaSqs(text), { Records: [value, { eventSource: 'aws:sqs', body: value }] }])
        for (const { puts } of readEventMessages(event))
          for (const { bucket, key } of puts) expect([typeof bucket, typeof key]).toEqual(['string', 'string']);
    }),
  );
});
