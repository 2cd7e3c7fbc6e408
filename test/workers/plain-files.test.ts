import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

async function withFile(env: Record<string, string> = {}): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['b', 'a'], env: { RECONCILER_IMPORT: 'true', ...env } });
  fleet.backends.a!.putNow('file', Buffer.from('content'));
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  expect(fleet.object('file').copies).toEqual({ a: '' });
  fleet.clock.advance(25 * hourMs);
  return fleet;
}

test('a file that was imported, never read and taken away by its owner is gone, without damage or an alarm [unread-files-may-go]', async () => {
  const fleet = await withFile();
  fleet.backends.a!.deleteNow('file');
  expect(await fleet.tick('reconciler')).toMatchObject({ outcome: 'success', reasons: { gone: 1 } });
  expect(fleet.entry('file')).toMatchObject({ kind: 'tombstone' });
  expect(fleet.logs.filter(({ level }) => level === 'error')).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an object of which only the imported file is gone lives on in its other copies', async () => {
  const fleet = await withFile({ REPLICATOR_BATCH_SIZE: '10' });
  await fleet.apply({ backends: ['b', 'a'], policies: { default: { factor: 2 } } });
  await fleet.tick('replicator');
  fleet.backends.a!.deleteNow('file');
  fleet.clock.advance(25 * hourMs);
  await fleet.tick('reconciler');
  await fleet.settle();
  expect(await fleet.read('file')).toBe('content');
});

test('what remembers a file that a put left behind forgets it once its owner has removed it', async () => {
  const fleet = await withFile();
  await fleet.client.put('file', 'through the library');
  expect(fleet.object('file').plainEtags).toHaveProperty('a');
  fleet.backends.a!.deleteNow('file');
  fleet.clock.advance(25 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toMatchObject({ 'left-behind-gone': 1 });
  expect(fleet.object('file').plainEtags).toBeUndefined();
  expect(await fleet.read('file')).toBe('through the library');
});

test('a tombstone that remembers a file ends a week after its owner has removed the file', async () => {
  const fleet = await withFile();
  // Nothing deletes it: its object has a copy elsewhere by then, and the file is what a delete leaves behind.
  await fleet.client.put('file', 'through the library');
  await fleet.client.delete('file');
  expect(fleet.entry('file')).toMatchObject({ kind: 'tombstone', plainEtags: { a: expect.any(String) } });
  fleet.backends.a!.deleteNow('file');
  for (let day = 0; day < 9; day += 1) {
    fleet.clock.advance(25 * hourMs);
    await fleet.tick('reconciler');
    fleet.store.expire();
  }
  expect(fleet.entry('file')).toBeUndefined();
});

test.each([
  ['without quotes', (etag: string) => etag.replaceAll('"', '')],
  ['as a weak one', (etag: string) => `W/${etag}`],
])('an ETag that is listed %s is the same one: nothing is asked of the file', async (_, listedAs) => {
  const fleet = await withFile();
  const { list } = fleet.backends.a!;
  fleet.backends.a!.list = async (...args) => {
    const page = await list(...args);
    return { ...page, items: page.items.map((item) => ({ ...item, etag: listedAs(item.etag) })) };
  };
  const asked: unknown[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && (method === 'head' || method === 'get')) asked.push(args[0]);
  };
  const report = await fleet.tick('reconciler');
  expect([report.figures['passComplete/a'], asked]).toEqual([1, ['.holdfast/owner']]);
});

test('a file that its owner changed, and that cannot be read now, keeps no other copy of its object from being scrubbed', async () => {
  const fleet = await withFile();
  await fleet.settle(['replicator'], 3);
  const [other] = Object.keys(fleet.object('file').copies).filter((name) => name !== 'a');
  const { get } = fleet.backends.a!;
  fleet.backends.a!.get = async (key, ...rest) => {
    if (key === 'file') throw new BackendError('precondition', 'a', 'another file stands there');
    return get(key, ...rest);
  };
  fleet.backends.a!.putNow('file', Buffer.from('changed'));
  const read = new Set<string>();
  fleet.before = ({ port, method, args }) => {
    if (method === 'get' && String(args[0]).startsWith('file')) read.add(port);
  };
  fleet.clock.advance(40 * 24 * hourMs);
  await fleet.tick('scrubber');
  expect([...read].sort()).toEqual(['a', other].sort());
});
