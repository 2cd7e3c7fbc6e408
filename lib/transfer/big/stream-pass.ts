import { createHash, type Hash } from 'node:crypto';
import type { Body } from '../../base/bytes.ts';
import { lengthOfPart, partCount, rangeOfPart } from '../parts.ts';
import type { Pass } from './pass.ts';
import type { PartIO } from './saved-pass.ts';

/** A pass whose parts are too large to be held in memory: one at a time, each streamed from one end to the other. */
export interface StreamPass
  extends Pick<Pass, 'clock' | 'sizeBytes' | 'partSizeBytes' | 'partsDone' | 'hash' | 'mayBegin' | 'reached'> {
  open: PartIO['open'];
  readonly write?: NonNullable<PartIO['write']>;
}

/** Runs a pass until its end, or until no further part may be begun. Returns the parts done. */
export async function runStreamPass(pass: StreamPass, signal: AbortSignal): Promise<number> {
  const { clock, sizeBytes, partSizeBytes } = pass;
  const last = partCount(sizeBytes, partSizeBytes);
  let expectedMs = 0;
  let done = pass.partsDone;
  while (done < last && pass.mayBegin(expectedMs, done === pass.partsDone)) {
    const startedAt = clock.now();
    const part = done + 1;
    const md5 = createHash('md5');
    const range = rangeOfPart(sizeBytes, partSizeBytes, part);
    const body = hashed(await pass.open(range, pass.write === undefined, signal), [pass.hash, md5]);
    const described = { partNumber: part, sizeBytes: lengthOfPart(sizeBytes, partSizeBytes, part), body };
    if (pass.write === undefined) for await (const _ of body);
    else await pass.write({ ...described, md5: () => md5.digest('hex') }, signal);
    done = part;
    pass.reached(done, pass.hash.state());
    expectedMs = (clock.now() - startedAt) * 1.2;
  }
  return done;
}

async function* hashed(body: Body, hashes: readonly (Pass['hash'] | Hash)[]): Body {
  for await (const chunk of body) {
    for (const hash of hashes) hash.update(chunk);
    yield chunk;
  }
}
