import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { SourceFile } from '../files.ts';
import type { Stage, Step } from '../stage.ts';
import { listAll, plainClient } from '../verify.ts';

const bin = fileURLToPath(new URL('../../../../bin/holdfast.js', import.meta.url));
/** How long a writer may be silent before the reaper settles what it began. */
const env = { PENDING_REAPER_MIN_AGE_SECONDS: '1' };

/** A process is killed after its bytes arrived and before it recorded them: the pending-reaper finishes its put. */
export const settleUpload: Step = {
  name: 'dead writer',
  async run(stage) {
    const { work } = stage.arranged;
    const file = stage.makeFile(
      'half-finished upload.txt',
      Buffer.alloc(200_000, 'Its writer died before recording it.\n'),
    );
    const promoted = () => work.acts('pending-reaper', 'Intent settled', 'promoted');
    const before = promoted();
    await putAndDie(stage, file);
    stage.files.push(file);
    stage.putAt.set(file.key, stage.arranged.process.clock.now());
    const isThere = () => stage.withClient((holdfast) => holdfast.head(file.key));
    if ((await isThere()) !== null) throw new Error('it was recorded before the process was killed');
    await stage.until('a settled upload', async () => {
      await stage.tick('pending-reaper', { env });
      return promoted() > before;
    });
    if ((await isThere())?.sizeBytes !== file.sizeBytes) throw new Error('it was not recorded as it was put');
    await stage.replicate();
    return 'a process killed by SIGKILL between its bytes and its record; the pending-reaper recorded them, a second copy was made';
  },
};

/** Runs `holdfast put` and kills it once the bytes are there; the answer that says so is held back until then. */
async function putAndDie(stage: Stage, { key, path }: SourceFile): Promise<void> {
  const { stack, buckets } = stage.arranged;
  for (const { server } of stack.backends)
    server.faults.add({ kind: 'hang', afterBytes: 0, match: { operation: 'PutObject', keyPrefix: `${key}!` } });
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [bin, 'put', key, path], {
    env: { PATH, HOME, ...stack.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const exited = once(child, 'exit');
  const clients = buckets.map((bucket) => ({ s3: plainClient(bucket), bucket: bucket.bucket }));
  try {
    await stage.until('an upload', async () => {
      if (child.exitCode !== null) throw new Error(`the process ended by itself: ${output}`);
      const listed = await Promise.all(clients.map(({ s3, bucket }) => listAll(s3, bucket, `${key}!`)));
      return listed.flat().length > 0;
    });
  } finally {
    child.kill('SIGKILL');
    await exited;
    for (const { s3 } of clients) s3.destroy();
    for (const { server } of stack.backends) server.faults.clear();
  }
}
