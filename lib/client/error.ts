/**
 * Why a call of the library failed: `bad-key` · `bad-metadata` a name that no header can have, or a reserved one · `bad-option` a value that an option cannot have · `not-configured` no `init` yet · `no-backend` none can take the object now
 * · `unreadable` no copy could be read and verified now · `changed` the object was replaced while it was being read ·
 * `undecided` no answer in time: it may have happened · `precondition` the object is not what `ifAbsent` or `ifGeneration` asks for ·
 * `too-few-copies` a put is recorded, on fewer backends than were asked for · `silent-body` the content gave no bytes for so long that the backend hung up · `not-waiting` nothing of the key can be brought back · `bad-range` no byte of the object is in the range · `closed` the client was closed.
 */
export type HoldfastErrorKind =
  | 'bad-key'
  | 'bad-metadata'
  | 'bad-option'
  | 'not-configured'
  | 'no-backend'
  | 'too-few-copies'
  | 'not-waiting'
  | 'unreadable'
  | 'changed'
  | 'undecided'
  | 'bad-body'
  | 'silent-body'
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

/** What of a put stands, verified and recorded, when fewer backends took it than were asked for. */
export interface PutStanding {
  readonly key: string;
  readonly generation: string;
  /** How many backends were to hold it. */
  readonly asked: number;
  /** Those that do. */
  readonly recorded: readonly string[];
}

/** A put is recorded and can be read, with fewer copies than were asked for: the replicator makes the others. */
export class TooFewCopiesError extends HoldfastError implements PutStanding {
  readonly key: string;
  readonly generation: string;
  readonly asked: number;
  readonly recorded: readonly string[];
  constructor({ key, generation, asked, recorded }: PutStanding, why: string) {
    const names = recorded.map((name) => `"${name}"`).join(', ');
    super(
      'too-few-copies',
      `"${key}" was put on ${recorded.length} of ${asked} backends (${names}), and no further one takes it${why}`,
    );
    this.key = key;
    this.generation = generation;
    this.asked = asked;
    this.recorded = recorded;
  }
}
