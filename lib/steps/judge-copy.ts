import type { BackendError } from '../fleet/backend.ts';
import type { CopyOutcome } from '../transfer/copy.ts';
import type { Refusal } from './refusals.ts';

/** The two ends of a copy. */
export interface Legs {
  readonly source: string;
  readonly target: string;
}

/**
 * What a copy that was not made speaks of: the `object`, which one backend refuses · the `backend`, of which nothing more is
 * asked in this tick · the `target`, which takes no more bytes in this tick · the `bytes` of a copy, which are to be examined ·
 * `nobody`.
 */
export type Blame =
  | { readonly on: 'object'; readonly refusal: Refusal }
  | { readonly on: 'backend'; readonly backend: string }
  | { readonly on: 'target'; readonly backend: string }
  | { readonly on: 'bytes'; readonly backend: string; readonly seem: 'missing' | 'wrong' | 'changed' }
  | { readonly on: 'nobody' };

/** What follows from a copy that was not made. */
export interface Judgement {
  readonly next: 'another-source' | 'another-target';
  readonly blame: Blame;
  /** For counting. */
  readonly reason: string;
  readonly message: string;
  /** Why bytes that stand at the target now are to be deleted; absent where there are none. */
  readonly orphanReason?: string;
}

/** What an outcome other than `copied` means for what is tried next. Pure. */
export function judgeCopy(outcome: Exclude<CopyOutcome, { outcome: 'copied' }>, { source, target }: Legs): Judgement {
  switch (outcome.outcome) {
    case 'source-missing':
      return suspect(source, 'missing', `There is no copy on "${source}"`);
    case 'source-wrong':
      return suspect(source, 'wrong', outcome.detail);
    case 'source-changed':
      return suspect(source, 'changed', `The file on "${source}" has another ETag than the one recorded`);
    case 'source-unproven': {
      const refusal = { backend: source, leg: 'source', cause: 'unproven', message: outcome.detail } as const;
      return { ...refused(refusal), orphanReason: 'unproven' };
    }
    case 'source-failed':
      return { next: 'another-source', ...failed(source, 'source', outcome.error) };
    case 'target-failed':
      return { next: 'another-target', ...failed(target, 'target', outcome.error) };
    case 'target-wrong': {
      const refusal = { backend: target, leg: 'target', cause: 'stored-wrong', message: outcome.detail } as const;
      return { ...refused(refusal), reason: 'target-wrong', orphanReason: 'stored-wrong' };
    }
  }
}

function suspect(backend: string, seem: 'missing' | 'wrong' | 'changed', message: string): Judgement {
  return { next: 'another-source', blame: { on: 'bytes', backend, seem }, reason: `source-${seem}`, message };
}

function refused(refusal: Refusal): Judgement {
  const { leg, cause, message } = refusal;
  return { next: `another-${leg}`, blame: { on: 'object', refusal }, reason: `${leg}-${cause}`, message };
}

function failed(
  backend: string,
  leg: Refusal['leg'],
  error: BackendError,
): Pick<Judgement, 'blame' | 'reason' | 'message'> {
  const { kind, message, speaksOf } = error;
  return { blame: blameFor({ backend, leg, cause: kind, message }, speaksOf), reason: `${leg}-${kind}`, message };
}

function blameFor(refusal: Refusal, speaksOf: BackendError['speaksOf']): Blame {
  const { backend, leg } = refusal;
  if (speaksOf === 'backend') return { on: 'backend', backend };
  if (speaksOf === 'object') return { on: 'object', refusal };
  // A source that has no room for more can be read all the same.
  if (speaksOf === 'target' && leg === 'target') return { on: 'target', backend };
  return { on: 'nobody' };
}
