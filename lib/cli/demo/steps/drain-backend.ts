import { drain, drainStatus } from '../../../operations/drain.ts';
import { undrain } from '../../../operations/undrain.ts';
import type { Stage, Step } from '../stage.ts';
import { type Bucket, listAll, plainClient } from '../verify.ts';
import { copies } from '../work.ts';

/** A backend is emptied for leaving the fleet, and then, empty, let back in. */
export const drainBackend: Step = {
  name: 'drain',
  async run(stage) {
    const { process: holdfastProcess } = stage.arranged;
    const objects = await stage.objects();
    const heldBy = (backend: string) => objects.filter(({ copies: on }) => backend in on).length;
    const bucket = (await free(stage)).reduce((a, b) => (heldBy(b.name) < heldBy(a.name) ? b : a));
    const { name } = bucket;
    const held = heldBy(name);
    await drain(holdfastProcess, name);
    // That nothing names it is enough here: it does not leave the file.
    await stage.until(`${name} is empty`, async () => {
      await stage.tick('replicator');
      await stage.tick('over-replication-cleaner');
      await stage.tick('cleanup-queue');
      return (await drainStatus(holdfastProcess, name)).outcome !== 'draining';
    });
    const s3 = plainClient(bucket);
    const left = await listAll(s3, bucket.bucket);
    s3.destroy();
    if (left.length > 0) throw new Error(`${name} still holds "${left[0]}"`);
    await undrain(holdfastProcess, name);
    return `${name} emptied of ${copies(held)}, none left in its bucket; then let back in`;
  },
};

/** Backends that can be drained now: a file imported there would leave, and wrong bytes are kept there for a week. */
async function free(stage: Stage): Promise<Bucket[]> {
  const { queue } = await stage.view();
  return stage.arranged.buckets.filter(
    ({ name }) => queue('cleanup', name).objects === 0 && !stage.files.some(({ importedOn }) => importedOn === name),
  );
}
