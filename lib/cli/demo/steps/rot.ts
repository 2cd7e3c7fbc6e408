import { readFileSync, writeFileSync } from 'node:fs';
import { storageKey } from '../../../store/keys.ts';
import type { ObjectRecord } from '../../../store/model.ts';
import type { Stage, Step } from '../stage.ts';
import { copies } from '../work.ts';

/** A bit of one copy turns on disk: readers pass over that copy, the scrubber finds it, the replicator makes another. */
export const rot: Step = {
  name: 'bit rot',
  async run(stage) {
    const { work } = stage.arranged;
    const { object, name } = await victim(stage);
    const { server, bucket } = stage.backend(name);
    const path = server.objectPath(bucket, storageKey(object.key, object.copies[name]!));
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
    const read = await stage.withClient(async (holdfast) => (await holdfast.get(object.key))!.sha256);
    if (read !== object.sha256) throw new Error('a reader got other bytes');
    const verified = () => work.reasons('scrubber', 'good');
    const before = verified();
    await stage.until('a scrub cycle', async () => (await stage.tick('scrubber')).figures.cycleProgress === 1);
    if (work.acts('scrubber', 'Copy quarantined') !== 1)
      throw new Error(`${work.acts('scrubber', 'Copy quarantined')} copies were found wrong instead of 1`);
    await stage.replicate();
    return `one bit turned in a copy on ${name}; the scrubber read ${copies(verified() - before + 1)}, found that one, and it was made anew`;
  },
};

/** A copy on the second backend, of an object that is read from there first where there is one. */
async function victim(stage: Stage): Promise<{ object: ObjectRecord; name: string }> {
  const order = stage.arranged.buckets.map(({ name }) => name);
  const objects = (await stage.objects()).filter(({ sizeBytes }) => sizeBytes > 0);
  const isOn = (i: number) => (object: ObjectRecord) => order[i]! in object.copies;
  const object =
    objects.find((one) => isOn(1)(one) && !isOn(0)(one)) ?? objects.find((one) => isOn(1)(one)) ?? objects[0]!;
  return { object, name: isOn(1)(object) ? order[1]! : order.find((name) => name in object.copies)! };
}
