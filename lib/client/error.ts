/**
 * Why a call of the library failed: `bad-key` · `bad-metadata` a name that no header can have, or a reserved one · `not-configured` no `init` yet · `no-backend` none can take the object now
 * · `unreadable` no copy could be read and verified now · `changed` the object was replaced while it was being read ·
 * `undecided` no answer in time: it may have happened · `precondition` the object is not what `ifAbsent` or `ifGeneration` asks for ·
 * `bad-range` no byte of the object is in the range · `closed` the client was closed.
 */
export type HoldfastErrorKind =
  | 'bad-key'
  | 'bad-metadata'
  | 'not-configured'
  | 'no-backend'
  | 'unreadable'
  | 'changed'
  | 'undecided'
  | 'bad-body'
  | 'no-key'
  | 'precondition'
  | 'bad-range'
  | 'closed';

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly kind: HoldfastErrorKind;
  constructor(kind: HoldfastErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}
