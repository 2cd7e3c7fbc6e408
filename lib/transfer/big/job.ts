import type { Clock } from '../../base/clock.ts';
import type { Backend } from '../../fleet/backend.ts';
import type { ObjectRecord, TransferFields } from '../../store/model.ts';
import type { CopyOutcome, FoundContent } from '../copy.ts';
import type { SaveOutcome } from '../saver.ts';
import type { PartBuffers } from './part-buffers.ts';
import type { Pass } from './pass.ts';

/**
 * What became of this turn of a big copy; as for a small one, and:
 * `stored` the target holds the recorded bytes, verified · `unfinished` there was no time to go on: progress is kept ·
 * `taken` another tick goes on with it · `upload-gone` the target knows the upload no more, or not as we left it: begin
 * anew · `wrong-digest` every part was sent, and they are not what is recorded · `unproven` every part was sent of what nobody
 * had hashed, and one read proves nothing: it is completed once the source gave the same again.
 */
export type BigCopyOutcome =
  | Exclude<CopyOutcome, { outcome: 'copied' }>
  | ({ readonly outcome: 'stored' } & FoundContent)
  | { readonly outcome: 'unfinished' }
  | OverLimit
  | { readonly outcome: 'taken' }
  | { readonly outcome: 'upload-gone' }
  | { readonly outcome: 'unproven' }
  | { readonly outcome: 'wrong-digest'; readonly detail: string };

/** The month's usage limits of one end do not allow it. */
export interface OverLimit {
  readonly outcome: 'over-limit';
  readonly backend: string;
  readonly reason: string;
}

export type Allowed<T> = { readonly outcome: 'spent'; readonly value: T } | OverLimit;

/** One turn at a copy of an object in parts. */
export interface BigCopy {
  readonly clock: Clock;
  readonly object: ObjectRecord;
  /** Null when everything is sent, and only its end is missing. */
  readonly from: Backend | null;
  readonly to: Backend;
  /** At the target. */
  readonly storageKey: string;
  readonly fleetId: string;
  /** Carry object tags too: one more request at the source. */
  readonly preservesTags?: boolean;
  /** As it was last left; always the latest. */
  progress: TransferFields;
  /** True when it is sure to end in this turn: then its hash is the fast one, which could not go on in another. */
  readonly endsInThisTurn: boolean;
  /** Parts on their way at a time. */
  readonly width: number;
  readonly buffers: PartBuffers;
  readonly mayBegin: Pass['mayBegin'];
  /** Reads so many bytes back from the target, where its usage limits allow it. */
  readonly spendReadingBack: <T>(bytes: number, run: () => Promise<T>) => Promise<Allowed<T>>;
  readonly save: (progress: TransferFields) => Promise<SaveOutcome>;
}

/** Another tick goes on with this copy. */
export class ClaimLostError extends Error {
  override readonly name = 'ClaimLostError';
}

/** Changes the progress and writes it down, now. */
export async function keep(job: BigCopy, change: Partial<TransferFields>): Promise<void> {
  job.progress = { ...job.progress, ...change };
  if ((await job.save(job.progress)) === 'taken') throw new ClaimLostError();
}
