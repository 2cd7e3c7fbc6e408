import { Violation } from '../oracle/violation.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;

/**
 * The source of a copy falls silent, and its target hangs up before anybody says that the source has failed: another copy is
 * read in the same tick, and the target is not to blame.
 */
export async function sourceFallsSilent(stage: Stage): Promise<boolean> {
  const { world, faults, actors, surroundings } = stage;
  if (!(await stage.isReady())) return false;
  await stage.apply(stage.roomyFile(2));
  const record = await stage.putNew(2, 40);
  if (record === undefined) return false;
  // A part is read before it is sent.
  stage.tune({ MULTIPART_ABOVE_BYTES: '1000' });
  await stage.apply(stage.roomyFile(3));
  const { actor } = actors.startTick('replicator', {}, 900_000);
  const sources = Object.keys(record.copies);
  const isThere = await stage.untilAt(actor, () =>
    sources.some((name) => world.isAsking(actor, 'chunk', stage.storageOf(record, name))),
  );
  faults.makeImpatient(true);
  world.delay(actor, 'chunk', 15_000);
  await stage.settle();
  faults.makeImpatient(false);
  stage.tune({});
  if (isThere) {
    const now = stage.recordOf(record.key)!;
    if (now.generation === record.generation && Object.keys(now.copies).length < 3)
      throw new Violation(
        'independence',
        `"${now.key}" has no third copy: one source fell silent, and the other was not read in that tick`,
        now.key,
      );
    const [blamed] = surroundings.unhealthyBackends();
    if (blamed !== undefined)
      throw new Violation('breakers', `The breaker of ${blamed} is open, although only sources were silent`);
  }
  await stage.apply(stage.roomyFile(2));
  return isThere;
}

/** The target of a copy in parts is lost in the midst of it: another takes the copy, still in that tick. */
export async function targetLost(stage: Stage): Promise<boolean> {
  const { world, oracle, faults, actors } = stage;
  if (!(await stage.isReady())) return false;
  await stage.apply(stage.roomyFile(1));
  const record = await stage.putNew(1, 50);
  if (record === undefined) return false;
  stage.tune({ MULTIPART_ABOVE_BYTES: '20', PART_BYTES: '20' });
  await stage.apply(stage.roomyFile(2));
  const { actor } = actors.startTick('replicator', {}, 900_000);
  const transfer = () =>
    [...oracle.queue.values()].find(
      ({ state, key, generation }) => state === 'transfer' && key === record.key && generation === record.generation,
    );
  const isSending = ({ storageKey }: { readonly storageKey: string }) =>
    [1, 2, 3].some((part) => world.isAsking(actor, `part-${part}`, storageKey));
  const isThere = await stage.untilAt(actor, () => {
    const item = transfer();
    return item !== undefined && isSending(item);
  });
  if (isThere) {
    const { backend } = transfer()!;
    faults.lose(backend);
    await stage.settle();
    const now = stage.recordOf(record.key)!;
    const others = Object.keys(now.copies).filter((name) => name !== backend);
    if (now.generation === record.generation && others.length < 2)
      throw new Violation(
        'independence',
        `"${now.key}" stands on ${others.join(', ')}: ${backend} was lost while it was copied there, and no other took it`,
        now.key,
      );
    faults.lose(null);
  }
  await stage.settle();
  stage.tune({});
  for (let tries = 0; tries < 2; tries += 1) {
    await stage.idle(7 * minute);
    await stage.tick('replicator');
    await stage.tick('cleanup-queue');
  }
  return isThere;
}
