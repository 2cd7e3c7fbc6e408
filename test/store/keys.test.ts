import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { maxKeyBytes, policyOf } from '../../lib/config/fleet-file.ts';
import {
  labelInShard,
  ledgerPlacement,
  parsePlacement,
  parseStorageKey,
  placementLabel,
  queueId,
  shardOf,
  shards,
  shardsOfPart,
  storageKey,
} from '../../lib/store/keys.ts';
import { conditions } from '../../lib/store/model.ts';
import { record } from '../contracts/store-fixtures.ts';

const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,30}$/);
const copyId = fc.ulid();
/** Any key, more often made of what storage keys and ids are made of: `!`, `/`, copy ids, and halves of surrogate pairs. */
const key = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
  fc
    .array(fc.oneof(fc.constantFrom('!', '/', '\n', '\0', '\ud800', '\udc00', '\u{1f600}', 'a'), copyId), {
      minLength: 1,
      maxLength: 8,
    })
    .map((parts) => parts.join('')),
);
const etag = fc.stringMatching(/^"[0-9a-f]{4,32}(-[1-9])?"$/);

test('a storage key tells its object key and copy id, whatever the object key looks like [storage-key-once]', () => {
  fc.assert(
    fc.property(key, copyId, (object, id) => {
      const storage = storageKey(object, id);
      expect(storage).toBe(`${object}!${id}`);
      expect(parseStorageKey(storage)).toEqual({ key: object, copyId: id });
    }),
  );
});

test('what does not end in a copy id is no storage key of ours, and a plain copy is at its own key', () => {
  fc.assert(
    fc.property(key, (plain) => {
      expect(storageKey(plain, '')).toBe(plain);
      if (/![0-9A-Z]{26}$/.test(plain.slice(1))) return;
      expect(parseStorageKey(plain)).toBeNull();
    }),
  );
});

test('the longest key with its copy id fits into the 1024 bytes that S3 allows, below every prefix of the fleet', () => {
  const prefixes = fc.array(
    fc.string({ unit: 'binary', maxLength: 64 }).map((text) => ({ prefix: `${text}/` })),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(prefixes, copyId, (backends, id) => {
      const longest = 'k'.repeat(maxKeyBytes({ backends } as never));
      const bytes = backends.map(({ prefix }) => Buffer.byteLength(prefix + storageKey(longest, id)));
      expect(Math.max(...bytes)).toBe(1024);
    }),
  );
});

test('the shard of a key is the first byte of its SHA-256 & 15, and n parts share the shards between them', () => {
  fc.assert(
    fc.property(key, fc.integer({ min: 1, max: 16 }), (object, of) => {
      const first = createHash('sha256').update(Buffer.from(object)).digest()[0]!;
      expect(Number(shardOf(object))).toBe(first % 16);
      const parts = Array.from({ length: of }, (_, part) => shardsOfPart(part, of));
      expect(parts.flat().sort()).toEqual(shards);
      expect(parts.filter((part) => part.includes(shardOf(object)))).toHaveLength(1);
    }),
  );
});

test('queue items of different bytes have different ids', () => {
  const place = fc.record({ backend: name, key, copyId: fc.option(copyId, { nil: '' }), etag });
  const idOf = ({ backend, key, copyId, etag }: { backend: string; key: string; copyId: string; etag: string }) =>
    queueId(backend, storageKey(key, copyId), copyId === '' ? etag : undefined);
  const bytesOf = ({ backend, key, copyId, etag }: { backend: string; key: string; copyId: string; etag: string }) =>
    JSON.stringify([backend, key, copyId === '' ? { etag } : copyId]);
  // Near misses: the same place but for one thing, or but for where one part ends and the next begins.
  const pairs = fc.tuple(place, place).chain(([a, b]) =>
    fc.tuple(...[0, 1, 2, 3].map(() => fc.boolean())).map(([backend, key, copyId, etag]) => ({
      a,
      b: {
        backend: backend ? a.backend : b.backend,
        key: key ? a.key : `${a.key}/${b.key}`,
        copyId: copyId ? a.copyId : b.copyId,
        etag: etag ? a.etag : b.etag,
      },
    })),
  );
  fc.assert(
    fc.property(pairs, ({ a, b }) => {
      expect(idOf(a) === idOf(b)).toBe(bytesOf(a) === bytesOf(b));
    }),
  );
});

const copies = fc
  .uniqueArray(fc.tuple(name, fc.oneof(copyId, fc.constant(''))), { selector: ([backend]) => backend, maxLength: 16 })
  .map((entries) => Object.fromEntries(entries));

test('a placement says policy, damage and copies, sorted and plain ones marked, and its label the shard too', () => {
  fc.assert(
    fc.property(key, name, fc.constantFrom(...conditions), copies, (object, policy, condition, all) => {
      const entry = record(object, { policy, condition, copies: all });
      const placement = ledgerPlacement(entry);
      const held = Object.keys(all).sort();
      expect(parsePlacement(placement)).toEqual({
        policy,
        condition,
        copies: held.map((backend) => ({ backend, isPlain: all[backend] === '' })),
      });
      const set = held.map((backend) => backend + (all[backend] === '' ? '*' : '')).join('+');
      expect(placementLabel(entry)).toBe(
        `${policy}${condition === 'sound' ? '' : `!${condition}`}/${shardOf(object)}/${set}`,
      );
      expect(labelInShard(placement, shardOf(object))).toBe(placementLabel(entry));
    }),
  );
});

test('the policy with the longest prefix of a key wins, else the default [policy-by-prefix]', () => {
  const prefixes = fc.uniqueArray(fc.string({ unit: fc.constantFrom('a', '/', '\u00e9'), minLength: 1, maxLength: 4 }));
  const keys = fc.string({ unit: fc.constantFrom('a', '/', '\u00e9', 'b'), minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(prefixes, keys, (all, object) => {
      const rules = all.map((prefix, i) => [`p${i}`, { prefix, factor: 1, encrypt: false }] as const);
      const policies = { default: { factor: 1, encrypt: false }, ...Object.fromEntries(rules) };
      const wanted = Math.max(0, ...all.filter((prefix) => object.startsWith(prefix)).map((prefix) => prefix.length));
      const { name: chosen, prefix } = policyOf({ policies }, object);
      expect(prefix ?? '').toBe(object.slice(0, wanted));
      expect(chosen === 'default').toBe(wanted === 0);
    }),
  );
});
