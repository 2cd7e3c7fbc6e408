import { createHash } from 'node:crypto';
import type { CompletedPart } from '../../fleet/backend.ts';

/**
 * The parts that this copy sent, as one digest over the ETags with which they were answered. A part of an earlier turn may
 * arrive late, with other bytes under the same number: the list of an upload's parts then shows other ETags than these.
 */
export interface SentParts {
  note(partNumber: number, etag: string): void;
  /** Over parts 1 to `count`, all of which were noted, now or in earlier turns. */
  digestUpTo(count: number): string;
}

/** Goes on from the digest over the parts done in earlier turns. */
export function createSentParts(digest: string, partsDone: number): SentParts {
  const etags = new Map<number, string>();
  let reached = { digest, count: partsDone };
  return {
    note: (partNumber, etag) => void etags.set(partNumber, etag),
    digestUpTo(count) {
      for (let part = reached.count + 1; part <= count; part += 1) {
        const etag = etags.get(part);
        if (etag === undefined) throw new Error(`Part ${part} was not sent`);
        reached = { digest: withPart(reached.digest, etag), count: part };
      }
      return reached.digest;
    },
  };
}

/** The same digest over parts as a backend lists them, in order. */
export function digestOfParts(parts: readonly CompletedPart[]): string {
  return parts.reduce((digest, { etag }) => withPart(digest, etag), '');
}

function withPart(digest: string, etag: string): string {
  return createHash('sha256')
    .update(`${digest} ${bare(etag)}`)
    .digest('hex');
}

/** Whether an ETag of the kind that S3 makes of parts is the one of these parts; what is of another kind says nothing. */
export function mayBeMadeOf(etag: string, parts: readonly CompletedPart[]): boolean {
  const [, digest, count] = /^([0-9a-f]{32})-(\d+)$/.exec(bare(etag)) ?? [];
  if (digest === undefined || Number(count) !== parts.length) return true;
  const md5s = Buffer.from(parts.map((part) => bare(part.etag)).join(''), 'hex');
  return createHash('md5').update(md5s).digest('hex') === digest;
}

function bare(etag: string): string {
  return etag.replaceAll('"', '');
}
