import { deepStrictEqual } from 'node:assert';
import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { entryOf, entryToItem, leaseOf, queueItemOf, queueItemToItem, rowOf } from '../../lib/store/dynamodb/items.ts';
import {
  conditions,
  type Entry,
  type ObjectRecord,
  type QueueItem,
  queueCauses,
  queueStates,
} from '../../lib/store/model.ts';
import { throughDynamo } from '../support/documents.ts';

const table = 'any-table';
const text = fc.string({ unit: 'binary', maxLength: 12 });
/**
 * Keys of maps: backends and policies by the rules, and what every object in JavaScript has already. The document client cannot
 * carry `constructor` and `__proto__`: the fleet file has no such names.
 */
const mapKey = fc.oneof(
  fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,30}$/),
  fc.constantFrom('prototype', 'toString', 'hasOwnProperty'),
);
const mapOf = <T>(value: fc.Arbitrary<T>) => fc.array(fc.tuple(mapKey, value)).map((all) => Object.fromEntries(all));
const whole = fc.maxSafeNat();
const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,30}$/);
const encryption = fc.record(
  { plaintextSha256: text, plaintextBytes: whole, keyId: text },
  { requiredKeys: ['plaintextBytes', 'keyId'], noNullPrototype: true },
);
const content = { sha256: text, headersSha256: text, encryption };
const stuckReason = fc.record(
  {
    leg: fc.constantFrom('source', 'target'),
    cause: text,
    message: text,
    attempts: whole,
    refusedAt: whole,
    nextTryAt: whole,
    asOf: text,
  },
  { noNullPrototype: true },
);

const object = fc.record(
  {
    kind: fc.constant('object' as const),
    key: text,
    generation: text,
    rev: whole,
    sizeBytes: whole,
    createdAt: whole,
    ...content,
    copies: mapOf(text),
    stuck: mapOf(stuckReason),
    policy: name,
    condition: fc.constantFrom(...conditions),
    plainEtags: mapOf(text),
  },
  {
    requiredKeys: ['kind', 'key', 'generation', 'rev', 'sizeBytes', 'createdAt', 'copies', 'policy', 'condition'],
    noNullPrototype: true,
  },
) as fc.Arbitrary<ObjectRecord>;

const tombstone = fc.record(
  {
    kind: fc.constant('tombstone' as const),
    key: text,
    generation: text,
    rev: whole,
    deletedAt: whole,
    ttl: whole,
    plainEtags: mapOf(text),
  },
  { requiredKeys: ['kind', 'key', 'generation', 'rev', 'deletedAt'], noNullPrototype: true },
);

const intent = fc.record({ replaces: text }, { requiredKeys: [], noNullPrototype: true });
const transfer = fc.record(
  {
    from: text,
    uploadId: text,
    partSizeBytes: whole,
    partsDone: whole,
    hashState: text,
    sha256: text,
    isUnproven: fc.boolean(),
    needsProof: fc.boolean(),
    leaves: text,
    failedLeg: fc.constantFrom('source', 'target'),
    sourceKey: text,
  },
  { requiredKeys: ['from', 'uploadId', 'partSizeBytes', 'partsDone', 'hashState'], noNullPrototype: true },
);

const queueItem = fc.record(
  {
    id: text,
    state: fc.constantFrom(...queueStates),
    backend: name,
    storageKey: text,
    key: text,
    generation: text,
    sizeBytes: whole,
    createdAt: whole,
    dueAt: whole,
    ...content,
    cause: fc.constantFrom(...queueCauses),
    reason: text,
    attempts: whole,
    lastError: text,
    claimedBy: text,
    claimedAt: whole,
    plainEtag: text,
    drainSince: whole,
    copiedBy: text,
    intent,
    transfer,
  },
  {
    noNullPrototype: true,
    requiredKeys: [
      ...(['id', 'state', 'backend', 'storageKey', 'key', 'generation'] as const),
      ...(['sizeBytes', 'createdAt', 'dueAt', 'cause', 'reason', 'attempts'] as const),
    ],
  },
) as fc.Arbitrary<QueueItem>;

test('any record or tombstone comes back from its item as it was, without fields that it does not have', () => {
  fc.assert(
    fc.property(fc.oneof(object, tombstone), (entry: Entry) => {
      deepStrictEqual(entryOf(throughDynamo(entryToItem(entry)), table), entry);
    }),
  );
});

test('any queue item comes back from its item as it was', () => {
  fc.assert(
    fc.property(queueItem, (item) => {
      deepStrictEqual(queueItemOf(throughDynamo(queueItemToItem(item)), table), item);
    }),
  );
});

/** Whatever JSON holds: rows hold the fleet file, settings, capabilities and summaries of ticks. */
const data = fc.letrec<{ value: unknown; map: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.oneof(
      text,
      fc.boolean(),
      fc.constant(null),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noInteger: true, noDefaultInfinity: true }),
    ),
    fc.array(tie('value'), { maxLength: 3 }),
    tie('map'),
  ),
  map: mapOf(tie('value')),
}));

test('whatever a row or a lease carries comes back as it was, under any key', () => {
  fc.assert(
    fc.property(data.map, text, whole, (map, sk, version) => {
      const row = { pk: 'fleet', sk, version, data: map };
      deepStrictEqual(rowOf(throughDynamo(row), table), row);
      const lease = { holder: sk, epoch: version, expiresAt: 0, last: map };
      const item = throughDynamo({ pk: 'lease/scrubber', sk: '0/1', ...lease });
      deepStrictEqual(leaseOf(item, table), { worker: 'scrubber', part: '0/1', ...lease });
    }),
  );
});

test('a number that could not be read again is not written', () => {
  const numbers = fc.oneof(fc.double(), fc.double({ noInteger: true }), fc.bigInt().map(Number));
  fc.assert(
    fc.property(numbers, (number) => {
      let read: unknown;
      try {
        read = throughDynamo({ outer: { inner: [number] } });
      } catch (error) {
        expect(String(error)).toContain(String(number));
        expect(Number.isSafeInteger(number)).toBe(false);
        return;
      }
      expect(read).toEqual({ outer: { inner: [number === 0 ? 0 : number] } });
    }),
  );
});

test.each<[what: string, value: AttributeValue]>([
  ['a number beyond 2^53', { N: '9007199254740993' }],
  ['a set', { SS: ['a'] }],
  ['binary', { B: Buffer.from('a') }],
])('%s, which no version of Holdfast writes, makes an item malformed, wherever it stands', (_, value) => {
  const row = unmarshall({
    pk: { S: 'fleet' },
    sk: { S: 's' },
    version: { N: '1' },
    data: { M: { a: { L: [value] } } },
  });
  expect(() => rowOf(row, table)).toThrow('Item "fleet" / "s" of table "any-table" is malformed: attribute "data"');
  expect(() => rowOf({ ...row, data: {}, version: unmarshall({ value }).value }, table)).toThrow('attribute "version"');
});
