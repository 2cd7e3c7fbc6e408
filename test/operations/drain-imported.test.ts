import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { createMemoryFleet } from '../../lib/testing.ts';

const files = 500;
const nameOf = (i: number) => `folder ${i % 7}/file ${i}`;
const contentOf = (i: number) => `content of file ${i}`;

test('500 imported files stay where they are when their backend is drained, and every object is complete elsewhere', async () => {
  const fleet = await createMemoryFleet({ backends: ['a', 'b', 'c'] });
  for (let i = 0; i < files; i += 1) fleet.backends.a!.putNow(nameOf(i), Buffer.from(contentOf(i)), {});
  expect(await fleet.workers.reconcile('a', { import: true })).toMatchObject({ isComplete: true, imported: files });
  await fleet.settle(5);
  expect(await fleet.workers.drain('a')).toMatchObject({ outcome: 'draining' });
  await fleet.settle(60);
  await fleet.workers.drainStatus('a');
  fleet.advance(60_000);
  expect(await fleet.workers.drainStatus('a')).toMatchObject({ outcome: 'drained' });

  const plain = [...fleet.backends.a!.contents().keys()].filter((key) => !key.startsWith('.holdfast/'));
  expect(plain.sort()).toEqual(Array.from({ length: files }, (_, i) => nameOf(i)).sort());
  for (let i = 0; i < files; i += 1) {
    expect(Buffer.from(fleet.backends.a!.peek(nameOf(i))!.bytes).toString()).toBe(contentOf(i));
    expect((await collect((await fleet.holdfast.get(nameOf(i)))!.body)).toString()).toBe(contentOf(i));
  }
  const records = [...fleet.store.allObjects()].filter((entry) => entry.kind === 'object');
  expect(records.map(({ copies }) => Object.keys(copies).sort().join('+'))).toEqual(Array(files).fill('b+c'));
  await fleet.close();
});
