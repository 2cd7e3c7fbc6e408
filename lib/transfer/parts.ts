import type { Clock } from '../base/clock.ts';

/** Most parts an object is cut into where its backend does not say: S3 allows 10,000, and some room is left. */
const usualParts = 9000;
/** Source: S3 quotas, multipart upload. */
const maxPartBytes = 5 * 2 ** 30;

/** How big objects are written. */
export interface PartRules {
  /** Larger objects are written in parts. */
  readonly aboveBytes: number;
  /** The smallest part, but for the last. */
  readonly partBytes: number;
  readonly clock: Clock;
}

/** The size of all parts but the last: as small as the number of parts allows, so that parts in flight stay small too. */
export function partSizeFor(sizeBytes: number, smallestBytes: number, maxParts = usualParts): number {
  const partBytes = Math.max(smallestBytes, Math.ceil(sizeBytes / Math.min(maxParts, usualParts)));
  if (partBytes > maxPartBytes) throw new Error(`An object of ${sizeBytes} bytes is larger than any backend takes`);
  return partBytes;
}

export function partCount(sizeBytes: number, partSizeBytes: number): number {
  return Math.ceil(sizeBytes / partSizeBytes);
}

/** First and last byte of a part, counted from 0; parts count from 1. */
export function rangeOfPart(sizeBytes: number, partSizeBytes: number, part: number): readonly [number, number] {
  const first = (part - 1) * partSizeBytes;
  return [first, Math.min(first + partSizeBytes, sizeBytes) - 1];
}

/** Length of a part. */
export function lengthOfPart(sizeBytes: number, partSizeBytes: number, part: number): number {
  const [first, last] = rangeOfPart(sizeBytes, partSizeBytes, part);
  return last - first + 1;
}
