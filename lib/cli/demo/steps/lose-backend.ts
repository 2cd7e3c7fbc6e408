import { plural } from '../../format.ts';
import type { Step } from '../stage.ts';

const sampleSize = 20;

/** A backend refuses connections: every read of an object that is there fails over to another copy, at once. */
export const loseBackend: Step = {
  name: 'outage',
  async run(stage) {
    const objects = await stage.objects();
    // The first backend in the order of reading that holds anything: every read meets the outage.
    const unreachable = stage.arranged.buckets
      .map(({ name }) => name)
      .find((name) => objects.some((o) => name in o.copies))!;
    stage.unreachable = unreachable;
    stage.backend(unreachable).server.faults.add({ kind: 'refuse' });
    const sample = objects.filter((object) => unreachable in object.copies).slice(0, sampleSize);
    const read = await stage.withClient(async (holdfast) => {
      let bytes = 0;
      for (const { key } of sample) for await (const chunk of (await holdfast.get(key))!.body) bytes += chunk.length;
      return bytes;
    });
    const expected = sample.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (read !== expected) throw new Error(`${read} bytes were read instead of ${expected}`);
    return `${unreachable} refuses connections; ${plural(sample.length, 'object')} there read all the same, from their other copies`;
  },
};
