import fc from 'fast-check';
import { expect, test } from 'vitest';
import { markFor, markName, readMark } from '../../lib/transfer/mark.ts';

const id = fc.ulid();
const backend = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,30}$/);
const storageKey = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 });
const place = fc.record({ fleetId: id, generation: id, backend, storageKey });

type Place = typeof place extends fc.Arbitrary<infer T> ? T : never;

const written = ({ fleetId, generation, backend, storageKey }: Place) =>
  markFor({ fleetId, generation }, backend, storageKey);
const read = (text: string, { fleetId, backend, storageKey }: Place) =>
  readMark({ [markName]: text }, fleetId, backend, storageKey);

test('N2: a mark read where it was written says ours, and the generation', () => {
  fc.assert(
    fc.property(place, (here) => {
      expect(read(written(here), here)).toEqual({ outcome: 'ours', generation: here.generation });
    }),
  );
});

test('N3: a mark of another fleet, or read on another backend or at another key, is foreign', () => {
  const elsewhere = fc.oneof(fc.record({ fleetId: id }), fc.record({ backend }), fc.record({ storageKey }));
  fc.assert(
    fc.property(place, elsewhere, (here, change) => {
      const existing = { ...here, ...change };
      fc.pre(JSON.stringify(existing) !== JSON.stringify(here));
      expect(read(written(here), existing)).toEqual({ outcome: 'foreign' });
    }),
  );
});

test('N3: a mark does not hold where a letter has gone over from the key to the name of the backend', () => {
  fc.assert(
    fc.property(place, fc.constantFrom('a', '0', '-'), (here, letter) => {
      const [key, name] = [{ storageKey: letter + here.storageKey }, { backend: here.backend + letter }];
      expect(read(written({ ...here, ...key }), { ...here, ...name })).toEqual({ outcome: 'foreign' });
    }),
  );
});

test('N3: whatever else stands in the metadata is foreign, or none where there is no mark', () => {
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

test('N3: a mark with anything behind it, or without its generation, is not one that we wrote', () => {
  const generation = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
  const here = { fleetId: 'f', generation, backend: 'b2', storageKey: 'k!id' };
  expect(read(written(here), here)).toEqual({ outcome: 'ours', generation });
  expect(read(`${written(here)} more`, here)).toEqual({ outcome: 'foreign' });
  expect(read(written({ ...here, generation: '' }), here)).toEqual({ outcome: 'foreign' });
});
