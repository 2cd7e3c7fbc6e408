/** The tokens on which an object's record is compared and swapped. */
export interface Version {
  /** ULID of the write that made this content: it identifies, it never orders. */
  readonly generation: string;
  /** +1 on every change of the record. */
  readonly rev: number;
}

/** How ciphertext came to be; absent for plain content. */
export interface Encryption {
  /** Hex; absent where the record was rebuilt from the ciphertext, until a scrub has decrypted it. */
  readonly plaintextSha256?: string;
  readonly plaintextBytes: number;
  readonly keyId: string;
}

/** An object with content. */
export interface ObjectRecord extends Version {
  readonly kind: 'object';
  readonly key: string;
  /** Bytes as stored on the backends. */
  readonly sizeBytes: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Hex SHA-256 of the stored bytes; absent until they were read once (imports, promoted puts). */
  readonly sha256?: string;
  /** Backend → copy id; the empty id is a plain copy, at the object's own key. */
  readonly copies: Readonly<Record<string, string>>;
  /** The policy label under which workers find this object. It only finds work; acts use the policy of the key. */
  readonly policy: string;
  /** True when the last copy, or every copy, failed verification. */
  readonly isDamaged: boolean;
  /** Backend → ETag of the plain file there: of a plain copy, or of one left behind by a put. */
  readonly plainEtags?: Readonly<Record<string, string>>;
  readonly encryption?: Encryption;
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

/** What a put will record once its bytes are on the backend. */
export interface IntentFields {
  /** Generation seen when the put began; absent when there was none. */
  readonly replaces?: string;
  readonly sha256?: string;
  readonly encryption?: Encryption;
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
  /** The backend whose copy this one replaces, in a move. */
  readonly leaves?: string;
  /** Whose fault the last failure was; absent after progress. */
  readonly failedLeg?: 'source' | 'target';
}

/** Bytes that no record names. An item changes state; it ends when its bytes are recorded or known to be deleted. */
export interface QueueItem {
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
  /** Why the bytes are queued, for people. */
  readonly reason: string;
  readonly attempts: number;
  readonly lastError?: string;
  readonly claimedBy?: string;
  readonly claimedAt?: number;
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
