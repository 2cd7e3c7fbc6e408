import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bodyOf, compareUtf8 } from '../../lib/base/bytes.ts';
import type { Clock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import type { ListFrom } from '../../lib/fleet/backend.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { kindOf } from '../contracts/backend-bytes.ts';

const stopped: Clock = { now: () => 1_700_000_000_000, sleep: async () => {} };
const bytes = (text: string) => Buffer.from(text);

describe('memory backend', () => {
  it('lists any keys in the order of their UTF-8 bytes, page by page', () => {
    const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 4 });
    const writes = fc.array(fc.record({ key, isDelete: fc.boolean() }), { maxLength: 60 });
    fc.assert(
      fc.property(writes, fc.integer({ min: 1, max: 7 }), (all, limit) => {
        const backend = createMemoryBackend({ name: 'mem', clock: stopped });
        const wanted = new Set<string>();
        for (const [i, write] of all.entries()) {
          if (write.isDelete) backend.deleteNow(write.key);
          else backend.putNow(write.key, bytes('x'));
          if (write.isDelete) wanted.delete(write.key);
          else wanted.add(write.key);
          if (i % 5 === 0) backend.listNow({ limit });
        }
        const seen: string[] = [];
        let from: ListFrom | undefined;
        do {
          const page = backend.listNow({ limit, ...defined({ from }) });
          seen.push(...page.items.map((item) => item.storageKey));
          from = page.next;
        } while (from !== undefined);
        expect(seen).toEqual([...wanted].sort(compareUtf8));
      }),
    );
  });

  it('can list in another order than that of bytes', () => {
    const backend = createMemoryBackend({ name: 'mem', clock: stopped, capabilities: { listsInByteOrder: false } });
    for (const key of ['\uff5e', '\u{1f680}', 'a']) backend.putNow(key, bytes('x'));
    expect(backend.listNow().items.map((item) => item.storageKey)).toEqual(['a', '\u{1f680}', '\uff5e']);
  });

  it('takes its time from the clock', async () => {
    const backend = createMemoryBackend({ name: 'mem', clock: stopped });
    backend.putNow('k', bytes('x'));
    expect((await backend.head('k'))?.lastModified).toBe(stopped.now());
    expect(backend.listNow().items[0]?.lastModified).toBe(stopped.now());
  });

  it('where versions are kept: an external client\u2019s delete leaves a marker, ours leaves nothing', async () => {
    const backend = createMemoryBackend({ name: 'mem', clock: stopped, capabilities: { keepsVersions: true } });
    backend.putNow('k', bytes('one'));
    backend.putNow('k', bytes('two'));
    backend.deleteNow('k');
    expect(backend.olderVersions('k').map((version) => Buffer.from(version.bytes).toString())).toEqual(['one', 'two']);
    expect(await kindOf(backend.head('k'))).toBe('delete-marker');
    expect(await kindOf(backend.get('k'))).toBe('delete-marker');
    await backend.delete([{ storageKey: 'k' }]);
    expect(await backend.head('k')).toBeNull();
    expect(backend.olderVersions('k')).toEqual([]);
  });

  it('a in-memory implementation that cannot do a thing treats it as a bucket that cannot would', async () => {
    const capabilities = { conditionalPut: false, conditionalDelete: false, keepsMetadata: false };
    const backend = createMemoryBackend({ name: 'mem', clock: stopped, capabilities });
    const put = { storageKey: 'k', sizeBytes: 1, metadata: { a: 'b' }, ifAbsent: true };
    await backend.put({ ...put, body: bodyOf(bytes('x')) });
    await backend.put({ ...put, body: bodyOf(bytes('y')) });
    expect(Buffer.from(backend.peek('k')!.bytes).toString()).toBe('y');
    expect((await backend.head('k'))?.metadata).toEqual({});
    const [outcome] = await backend.delete([{ storageKey: 'k', ifMatch: backend.peek('k')!.etag }]);
    expect(outcome).toMatchObject({ outcome: 'failed', error: { kind: 'unsupported' } });
    expect(backend.peek('k')).toBeDefined();
  });

  it('does not see what becomes of a buffer that it was given', async () => {
    const backend = createMemoryBackend({ name: 'mem', clock: stopped });
    const mine = bytes('mine');
    await backend.put({ storageKey: 'k', sizeBytes: 4, body: bodyOf(mine) });
    mine.fill(0);
    expect(Buffer.from(backend.peek('k')!.bytes).toString()).toBe('mine');
  });
});
