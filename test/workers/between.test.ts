import { expect, test } from 'vitest';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;
const changes = ['overwritten', 'deleted', 'deleted and put again'] as const;

/** Does it just before the next commit that changes an object or names bytes: between a worker's read and its act. */
function beforeNextCommit(fleet: TestFleet, what: (typeof changes)[number]): void {
  fleet.before = async ({ port, method, args }) => {
    const isCommit =
      port === 'store' &&
      method === 'transact' &&
      (args[0] as { kind: string }[]).some(({ kind }) => kind === 'object');
    if (!isCommit) return;
    fleet.before = undefined;
    if (what !== 'overwritten') await fleet.newClient().delete('k');
    if (what !== 'deleted') await fleet.newClient().put('k', 'new');
  };
}

async function expectUntouched(fleet: TestFleet, what: (typeof changes)[number]): Promise<void> {
  await fleet.settle(['replicator', 'cleanup-queue', 'scrubber'], 90);
  fleet.clock.advance(8 * 24 * hourMs);
  await fleet.settle(['replicator', 'cleanup-queue', 'reconciler'], 10);
  expect(await fleet.read('k')).toBe(what === 'deleted' ? null : 'new');
  const copies = what === 'deleted' ? 0 : 1;
  expect([fleet.keysOn('a').length, fleet.keysOn('b').length]).toEqual([copies, copies]);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
}

test.each(changes)(
  'an object %s between the scrubber’s reads and its quarantine keeps its new content',
  async (what) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'] });
    await fleet.client.put('k', 'old');
    await fleet.tick('replicator');
    const rotten = fleet.keysOn('a')[0]!;
    fleet.backends.a!.putNow(rotten, Buffer.from('OLD'), { metadata: fleet.backends.a!.peek(rotten)!.metadata });
    beforeNextCommit(fleet, what);
    await fleet.tick('scrubber');
    expect(fleet.before).toBeUndefined();
    await expectUntouched(fleet, what);
  },
);

test.each(changes)(
  'an object %s between the reconciler’s reads and its enqueueing for deletion keeps its new content',
  async (what) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'] });
    await fleet.client.put('k', 'old');
    await fleet.tick('replicator');
    const { fleetId } = (await fleet.store.control('fleet')).rows.find(({ sk }) => sk === 'identity')!.data as {
      fleetId: string;
    };
    const orphan = `k!${fleet.ids.ulid()}`;
    const mark = markFor({ fleetId, generation: fleet.object('k').generation }, 'b', orphan);
    fleet.backends.b!.putNow(orphan, Buffer.from('old'), { metadata: { [markName]: mark } });
    fleet.clock.advance(2 * hourMs);
    beforeNextCommit(fleet, what);
    await fleet.tick('reconciler');
    expect(fleet.before).toBeUndefined();
    await expectUntouched(fleet, what);
  },
);
