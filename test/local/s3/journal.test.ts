import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openJournal, readJournal } from '../../../lib/local/s3/journal.ts';
import type { ObjectVersion } from '../../../lib/local/s3/object-version.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const version = (key: string, order: number): ObjectVersion => ({
  key,
  versionId: 'null',
  order,
  isDeleteMarker: false,
  modifiedMs: 0,
  sizeBytes: 0,
  etag: '',
  headers: {},
  metadata: {},
  tags: {},
});

test('a journal stays as small as what it remembers, and forgets nothing when it is written anew', () => {
  const path = join(dir, 'journal.jsonl');
  const live = new Map<string, ObjectVersion>();
  const journal = openJournal({ path, temporary: join(dir, 'new'), live: () => live.values(), spareLines: 10 });
  for (let i = 0; i < 500; i++) {
    const key = `k${i % 7}`;
    const isRemoval = i % 5 === 4;
    // As a bucket does it: the line first, the index after.
    journal.append(isRemoval ? { remove: { key, versionId: 'null' } } : { put: version(key, i) });
    if (isRemoval) live.delete(key);
    else live.set(key, version(key, i));
    const remembered = readJournal(path).map(({ put }) => [put.key, put.order]);
    expect(remembered.toSorted()).toEqual([...live.values()].map(({ key, order }) => [key, order]).toSorted());
  }
  expect(readFileSync(path, 'utf8').split('\n').length).toBeLessThan(40);
  journal.close();
});
