import type { Body } from '../base/bytes.ts';
import { lengthOfPart, partCount, rangeOfPart } from './parts.ts';
import type { Pass } from './pass.ts';

/** A pass whose parts are too large to be held in memory: one at a time, each streamed from one end to the other. */
export interface StreamPass
  extends Pick<Pass, 'clock' | 'sizeBytes' | 'partSizeBytes' | 'partsDone' | 'hash' | 'mayBegin' | 'reached'> {
  open(range: readonly [number, number], signal: AbortSignal): Promise<Body>;
  /** Consumes the body; absent when the bytes are only read. */
  readonly write?: (part: number, sizeBytes: number, body: Body, signal: AbortSignal) => Promise<void>;
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
    const body = hashed(await pass.open(rangeOfPart(sizeBytes, partSizeBytes, part), signal), pass.hash);
    if (pass.write === undefined) for await (const _ of body);
    else await pass.write(part, lengthOfPart(sizeBytes, partSizeBytes, part), body, signal);
    done = part;
    pass.reached(done, pass.hash.state());
    expectedMs = (clock.now() - startedAt) * 1.2;
  }
  return done;
}

async function* hashed(body: Body, hash: Pass['hash']): Body {
  for await (const chunk of body) {
    hash.update(chunk);
    yield chunk;
  }
}
