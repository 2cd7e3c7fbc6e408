import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { describeCompatibility, pageFile, readNotes, readRecorded } from './compatibility.ts';
import { differences, lackedBy } from './differences.ts';

test('the page of compatibility is what was recorded', () => {
  expect(readFileSync(pageFile, 'utf8')).toBe(describeCompatibility(readRecorded(), readNotes()));
});

test('every server that was recorded works, or is refused for a promise', () => {
  for (const { name, isWell, contract, refused } of readRecorded()) {
    expect([name, isWell]).toEqual([name, true]);
    if (refused === undefined && contract !== undefined) expect([name, contract[2]]).toEqual([name, 0]);
  }
});

test('what a server lacks is told from what it has', () => {
  expect(lackedBy({ tags: true, keepsVersions: false, maxParts: 10_000, metadataBytes: 2048 })).toEqual([]);
  const lacking = { tags: false, keepsVersions: true, maxParts: 1000, maxSegmentBytes: 255, maxKeyBytes: 900 };
  expect(lackedBy(lacking).sort()).toEqual(['keepsVersions', 'maxKeyBytes', 'maxParts', 'maxSegmentBytes', 'tags']);
});

test('of every difference it is said what Holdfast does about it', () => {
  for (const { what, answer } of Object.values(differences)) {
    expect(what).toMatch(/^[a-z]/);
    expect(answer).toMatch(/^[A-Z`].*\.$/);
  }
});
