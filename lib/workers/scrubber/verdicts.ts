import type { Verdict } from '../../base/tally.ts';
import type { PlainChange } from '../../steps/plain-change.ts';
import type { Quarantine } from '../../transfer/quarantine.ts';
import type { PutOffReason } from '../../transfer/reading/reading.ts';

/**
 * What was found of one copy: `good` · `backfilled` good, and its hash was recorded · `parked` not reachable now · `lost` the
 * record changed meanwhile · `unreadable` nothing can be said · `reading` it goes on in the next tick · `plaintext-…` the stored
 * bytes are good: they do not decipher to what was put, cannot be deciphered, or were not, since reading them took longer than a
 * tick or no key was to be had · why it was put off · what quarantine or the owner's overwrite led to.
 */
export type ScrubVerdict =
  | 'backfilled'
  | 'parked'
  | 'plaintext-differs'
  | 'plaintext-unreadable'
  | 'plaintext-unchecked'
  | PutOffReason
  | PlainChange
  | Exclude<Quarantine['outcome'], 'put-off'>;

/** What was found of one copy. */
export interface CopyVerdict {
  readonly backend: string;
  readonly copyId: string;
  readonly verdict: ScrubVerdict;
  readonly detail?: string;
}

/**
 * Whether a verdict ends the copy's turn in the scrub cycle: `covered` · `held` by what holds back its backend: the cycle goes
 * on here, there, when it allows · `owed` by this copy alone: it is come back to.
 */
export type Coverage = 'covered' | 'held' | 'owed';

interface Meaning {
  readonly counts: Verdict;
  readonly coverage: Coverage;
}

const covered = (counts: Verdict): Meaning => ({ counts, coverage: 'covered' });
const held = (counts: Verdict): Meaning => ({ counts, coverage: 'held' });
const owed = (counts: Verdict): Meaning => ({ counts, coverage: 'owed' });

const meanings: Readonly<Record<ScrubVerdict, Meaning>> = {
  good: covered('succeeded'),
  backfilled: covered('succeeded'),
  quarantined: covered('succeeded'),
  renewed: covered('succeeded'),
  overwritten: covered('succeeded'),
  foreign: covered('succeeded'),
  unchanged: covered('succeeded'),
  // A copy that came into the record meanwhile was verified when it was written.
  lost: covered('skipped'),
  gone: covered('failed'),
  damaged: covered('failed'),
  'removal-limit': covered('failed'),
  'plaintext-differs': covered('failed'),
  'plaintext-unreadable': covered('failed'),
  'plaintext-unchecked': covered('succeeded'),
  parked: held('skipped'),
  'over-requests': held('deferred'),
  'over-class-a': held('deferred'),
  'over-class-b': held('deferred'),
  'over-dollars': held('deferred'),
  'over-egress': held('deferred'),
  'over-ingress': held('deferred'),
  'out-of-time': held('deferred'),
  reading: owed('deferred'),
  'backing-off': owed('deferred'),
  unreadable: owed('failed'),
};

/** Whether a copy that was read was not found to decipher to what was put. */
export function lacksPlaintext({ verdict }: Pick<CopyVerdict, 'verdict'>): boolean {
  return verdict.startsWith('plaintext-');
}

export function meaningOf(verdict: ScrubVerdict): Meaning {
  return meanings[verdict];
}
