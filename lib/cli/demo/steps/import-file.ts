import { readFileSync } from 'node:fs';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { plural } from '../../format.ts';
import type { Step } from '../stage.ts';
import { plainClient } from '../verify.ts';

/** A file that somebody put into a bucket becomes an object: imported where it is, and replicated. */
export const importFile: Step = {
  name: 'import',
  async run(stage) {
    const { work, buckets } = stage.arranged;
    const bucket = buckets[1]!;
    const written = stage.makeFile('a letter.txt', Buffer.from('Holdfast did not write this file.\n'));
    const file = { ...written, importedOn: bucket.name };
    const s3 = plainClient(bucket);
    await s3.send(new PutObjectCommand({ Bucket: bucket.bucket, Key: file.key, Body: readFileSync(file.path) }));
    s3.destroy();
    stage.files.push(file);
    stage.putAt.set(file.key, stage.arranged.process.clock.now());
    await stage.until('a pass of the reconciler', async () => {
      const reconcile = { kind: 'import', backends: [bucket.name] } as const;
      const { figures } = await stage.tick('reconciler', { reconcile, env: { RECONCILER_MIN_AGE_SECONDS: '0' } });
      return figures.passComplete === 1;
    });
    const imported = work.acts('reconciler', 'File imported');
    if (imported !== 1) throw new Error(`${imported} files were imported instead of 1`);
    await stage.replicate();
    const object = (await stage.objects()).find(({ key }) => key === file.key);
    if (object?.copies[bucket.name] !== '') throw new Error('it did not stay where it was');
    const copied = plural(Object.keys(object.copies).length - 1, 'copy');
    return `a file put on ${bucket.name} with another S3 client imported where it is, ${copied} made elsewhere`;
  },
};
