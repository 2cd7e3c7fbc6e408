/** The tokens on which an object's record is compared and swapped. */
export interface Version {
  /** ULID of the write that made this content: it identifies, it never orders. */
  readonly generation: string;
  /** +1 on every change of the record. */
  readonly rev: number;
}

/** How ciphertext came to be; absent for plain content. */
export interface Encryption {
  /** Hex; absent where the record was rebuilt from the ciphertext alone: its frames are authenticated all the same. */
  readonly plaintextSha256?: string;
  readonly plaintextBytes: number;
  readonly keyId: string;
}

/** What is known of stored bytes, wherever they are named: by a record, or by the queue. */
export interface Content {
  /** Hex SHA-256 of the stored bytes; absent until they were read once (imports, promoted puts). */
  readonly sha256?: string;
  /** Hex digest of the content headers and user metadata as stored; absent until they were read once. */
  readonly headersSha256?: string;
  readonly encryption?: Encryption;
  /**
   * The generation under which the bytes were written, where the object has another since: it was deleted or overwritten, and
   * brought back. Marks bear it, and ciphertext is bound to it.
   */
  readonly writtenAs?: string;
}

/**
 * How an object stands, as its placement label says it: `stuck` every backend it could go to, or come from, refuses it ·
 * `damaged` its last copy, or every copy, failed verification · `recovering` a recovery that is not complete made its record:
 * read, and neither copied, moved, nor removed from.
 */
export const conditions = ['sound', 'stuck', 'damaged', 'recovering'] as const;
export type Condition = (typeof conditions)[number];

/** Why one backend refused an object, and when it is asked again. */
export interface StuckReason {
  /** `target`: it took no copy · `source`: it gave none. */
  readonly leg: 'source' | 'target';
  /** Kind of the error, or a word of the worker's own. */
  readonly cause: string;
  /** For people; at most 300 characters. */
  readonly message: string;
  /** Refusals in a row. */
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly refusedAt: number;
  /** Milliseconds since the epoch. */
  readonly nextTryAt: number;
  /** The fleet file and the drains under which it refused: others are a new chance. */
  readonly asOf: string;
}

/** An object with content. */
export interface ObjectRecord extends Version, Content {
  readonly kind: 'object';
  readonly key: string;
  /** Bytes as stored on the backends. */
  readonly sizeBytes: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Backend → copy id; the empty id is a plain copy, at the object's own key. */
  readonly copies: Readonly<Record<string, string>>;
  /** The policy label under which workers find this object. It only finds work; acts use the policy of the key. */
  readonly policy: string;
  readonly condition: Condition;
  /** Backend → why it refused the object. Each backs off by itself; the condition `stuck` needs all of them. */
  readonly stuck?: Readonly<Record<string, StuckReason>>;
  /** Backend → ETag of the plain file there: of a plain copy, or of one left behind by a put. */
  readonly plainEtags?: Readonly<Record<string, string>>;
}

/** What remains of a deleted object, so that nothing older can be resurrected. */
export interface Tombstone extends Version {
  readonly kind: 'tombstone';
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly deletedAt: number;
  /** Seconds since the epoch, for DynamoDB's TTL; absent while `plainEtags` remembers a file. */
  readonly ttl?: number;
  readonly plainEtags?: Readonly<Record<string, string>>;
}

/** An item of the Objects table. */
export type Entry = ObjectRecord | Tombstone;

export const queueStates = ['intent', 'transfer', 'cleanup', 'dead'] as const;
export type QueueState = (typeof queueStates)[number];

/**
 * Why bytes are in the queue, for programs:
 * `put` a put under way · `copy`, `move` a big copy under way · `replaced` by a put · `deleted` by a person · `surplus` ·
 * `aged-evidence` surplus, where a copy that stays was read to its end some time before · `moved` · `forgotten` with its backend ·
 * `overwritten` by an imported file's owner · `superseded` by what a recovery found · `orphan` found by a sweep ·
 * `quarantined` seemed missing or wrong · `unrecorded` written by a worker and not recorded · `put-failed` ·
 * `put-superseded` the object moved on before the put was recorded · `copy-abandoned` · `drained` an imported file that a
 * drain takes with it.
 */
export const queueCauses = [
  'put',
  'copy',
  'move',
  'replaced',
  'deleted',
  'surplus',
  'aged-evidence',
  'moved',
  'forgotten',
  'overwritten',
  'superseded',
  'orphan',
  'quarantined',
  'unrecorded',
  'put-failed',
  'put-superseded',
  'copy-abandoned',
  'drained',
] as const;
export type QueueCause = (typeof queueCauses)[number];

/** What a put under way knows of the object it writes, besides the bytes. */
export interface IntentFields {
  /** Generation seen when the put began; absent when there was none. */
  readonly replaces?: string;
}

/** A big copy in progress. */
export interface TransferFields {
  readonly from: string;
  /** Empty until the upload is begun. */
  readonly uploadId: string;
  readonly partSizeBytes: number;
  /** Contiguous parts done, from part 1: sent, or read back once `sha256` is there. */
  readonly partsDone: number;
  /** Serialised state of the SHA-256 over those parts; empty when it was not kept. */
  readonly hashState: string;
  /** Hex SHA-256 of what was sent, once every part is: from then on the upload may be completed. */
  readonly sha256?: string;
  /** True when the backend's answers to some part prove nothing: the whole is read back before it is recorded. */
  readonly isUnproven?: boolean;
  /** Nobody knew the hash of the object, and nothing proves yet that what was read once is what the source holds. */
  readonly needsProof?: boolean;
  /** Over the ETags with which the parts done were answered; see `SentParts`. */
  readonly partsDigest?: string;
  /** The backend whose copy this one replaces, in a move. */
  readonly leaves?: string;
  /** Whose fault the last failure was, or whose limit holds it back; absent after progress. */
  readonly failedLeg?: 'source' | 'target';
  /** Backends from which it was sent in vain: others come first. */
  readonly failedSources?: readonly string[];
  /** How often it was begun anew. */
  readonly restarts?: number;
  /** Where the bytes to copy are on `from`, when no record names them: good bytes that wait in the queue. */
  readonly sourceKey?: string;
}

/** Bytes that no record names. An item changes state; it ends when its bytes are recorded or known to be deleted. */
export interface QueueItem extends Content {
  /** `<backend>/<storage key>`; for plain keys also `/<etag>`. */
  readonly id: string;
  readonly state: QueueState;
  readonly backend: string;
  readonly storageKey: string;
  /** Key of the object the bytes belong to. */
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** When the next worker may act. */
  readonly dueAt: number;
  readonly cause: QueueCause;
  /** Why the bytes are queued, for people. */
  readonly reason: string;
  readonly attempts: number;
  readonly lastError?: string;
  /** Who claimed the item last. It stays on an item whose deletion failed: its claimant may be frozen in the midst. */
  readonly claimedBy?: string;
  readonly claimedAt?: number;
  /** Beginning of the drain that takes this imported file with it: it is deleted only while that drain lasts. */
  readonly drainSince?: number;
  /** Id of the transfer that copies these bytes to a fresh key: good ones that may not be restored where they are. */
  readonly copiedBy?: string;
  /** ETag that a plain file must still have to be deleted. */
  readonly plainEtag?: string;
  readonly intent?: IntentFields;
  readonly transfer?: TransferFields;
}

/** Objects and bytes. */
export interface Count {
  readonly objects: number;
  readonly bytes: number;
}

/** A row of the Control table that is compared and swapped on its version. */
export interface ControlRow {
  readonly pk: string;
  readonly sk: string;
  /** +1 on every write. */
  readonly version: number;
  readonly data: Readonly<Record<string, unknown>>;
  /** Seconds since the epoch, for DynamoDB's TTL: rows that nothing else ends. */
  readonly ttl?: number;
}

/** A worker's exclusive turn. */
export interface Lease {
  readonly worker: string;
  /** `<part>/<of>` */
  readonly part: string;
  readonly holder: string;
  /** +1 on every acquisition: writes under an older epoch are refused. */
  readonly epoch: number;
  readonly expiresAt: number;
  readonly cursor?: string;
  /** The last finished tick's summary. */
  readonly last?: Readonly<Record<string, unknown>>;
}
