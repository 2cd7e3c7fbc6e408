import fc from 'fast-check';
import { expect, test } from 'vitest';
import { markedMetadata, markFor, markName, readMark } from '../../lib/transfer/mark.ts';

const id = fc.ulid();
const backend = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,30}$/);
const storageKey = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 });
const digest = fc.stringMatching(/^[0-9a-f]{64}$/);
const told = fc.record({ sha256: digest, isEncrypted: fc.boolean(), headersSha256: digest }, { requiredKeys: [] });
const place = fc.record({ fleetId: id, generation: id, backend, storageKey, told });

type Place = typeof place extends fc.Arbitrary<infer T> ? T : never;

const written = ({ fleetId, generation, backend, storageKey, told: more }: Place) =>
  markFor({ fleetId, generation, ...more }, backend, storageKey);
const read = (text: string, { fleetId, backend, storageKey }: Place) =>
  readMark({ [markName]: text }, fleetId, backend, storageKey);

test('a mark read where it was written says ours, the generation, and what was known of the bytes', () => {
  fc.assert(
    fc.property(place, (here) => {
      expect(read(written(here), here)).toEqual({ outcome: 'ours', generation: here.generation, ...here.told });
    }),
  );
});

test('a mark that was cut short at the end of any word is not one that we wrote', () => {
  fc.assert(
    fc.property(place, (here) => {
      const words = written(here).split(' ');
      for (let kept = 0; kept < words.length; kept += 1)
        expect(read(words.slice(0, kept).join(' '), here)).toEqual({ outcome: 'foreign' });
    }),
  );
});

test('metadata that leaves no room for the whole mark is stored with a shorter one, never without', () => {
  const mark = { fleetId: 'f'.repeat(26), generation: '01ARZ3NDEKTSV4RRFFQ69G5FAV', sha256: '0'.repeat(64) };
  const whole = { ...mark, isEncrypted: true, headersSha256: '1'.repeat(64) };
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2040 }), (length) => {
      const marked = markedMetadata({ n: 'v'.repeat(length) }, whole, 'b', 'k');
      const bytes = Object.entries(marked).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
      const found = readMark(marked, mark.fleetId, 'b', 'k');
      expect(found).toMatchObject({ outcome: 'ours', isEncrypted: true });
      expect(bytes <= 2048 || !('sha256' in found)).toBe(true);
      if (length < 1800) expect(found).toMatchObject({ sha256: whole.sha256, headersSha256: whole.headersSha256 });
    }),
  );
});

test('a mark of another fleet, or read on another backend or at another key, is foreign [marks-tell-ours]', () => {
  const elsewhere = fc.oneof(fc.record({ fleetId: id }), fc.record({ backend }), fc.record({ storageKey }));
  fc.assert(
    fc.property(place, elsewhere, (here, change) => {
      const existing = { ...here, ...change };
      fc.pre(JSON.stringify(existing) !== JSON.stringify(here));
      expect(read(written(here), existing)).toEqual({ outcome: 'foreign' });
    }),
  );
});

test('a mark does not hold where a letter has gone over from the key to the name of the backend', () => {
  fc.assert(
    fc.property(place, fc.constantFrom('a', '0', '-'), (here, letter) => {
      const [key, name] = [{ storageKey: letter + here.storageKey }, { backend: here.backend + letter }];
      expect(read(written({ ...here, ...key }), { ...here, ...name })).toEqual({ outcome: 'foreign' });
    }),
  );
});

test('whatever else stands in the metadata is foreign, or none where there is no mark', () => {
  const spoilt = fc.oneof(
    fc.constantFrom(' ', '  ', '\t', ' x', ' 01ARZ3NDEKTSV4RRFFQ69G5FAV').map((more) => (mark: string) => mark + more),
    fc.constantFrom(' ', 'x').map((more) => (mark: string) => more + mark),
    fc.nat().map((n) => (mark: string) => mark.slice(0, n % mark.length)),
    fc.nat().map((n) => (mark: string) => mark.slice(0, n % mark.length) + mark.slice((n % mark.length) + 1)),
    fc.constant((mark: string) => mark.replace(/ \S+ /, '  ')),
    fc.constant((mark: string) => mark.toLowerCase()),
    fc.string({ unit: 'binary' }).map((text) => () => text),
  );
  fc.assert(
    fc.property(place, spoilt, (here, spoil) => {
      const [mark, spoiltMark] = [written(here), spoil(written(here))];
      fc.pre(spoiltMark !== mark);
      expect(read(spoiltMark, here)).toEqual({ outcome: 'foreign' });
    }),
  );
  const others = fc.dictionary(fc.string(), fc.string());
  fc.assert(
    fc.property(place, others, ({ fleetId, backend, storageKey }, metadata) => {
      fc.pre(!Object.hasOwn(metadata, markName));
      expect(readMark(metadata, fleetId, backend, storageKey)).toEqual({ outcome: 'none' });
    }),
  );
});

test('a mark with anything behind it, or without its generation, is not one that we wrote', () => {
  const generation = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
  const here = { fleetId: 'f', generation, backend: 'b2', storageKey: 'k!id', told: {} };
  expect(read(written(here), here)).toEqual({ outcome: 'ours', generation });
  expect(read(`${written(here)} more`, here)).toEqual({ outcome: 'foreign' });
  expect(read(written({ ...here, generation: '' }), here)).toEqual({ outcome: 'foreign' });
});
