import type { Entry, QueueItem } from '../../lib/store/model.ts';
import type { Actor } from './operation.ts';
import type { BreakersCheck } from './oracle/breakers.ts';
import type { LeasesCheck } from './oracle/leases.ts';
import type { PlacesCheck } from './oracle/places.ts';
import type { ReadsCheck } from './oracle/reads.ts';
import type { UploadsCheck } from './oracle/uploads.ts';
import type { UsageCheck } from './oracle/usage.ts';

/** What the simulated ports tell the oracle, at the moment it happens. */
export interface Observer
  extends LeasesCheck,
    Omit<BreakersCheck, 'requestSent'>,
    Pick<PlacesCheck, 'fileWritten'>,
    Omit<ReadsCheck, 'copyNamed'>,
    Pick<UploadsCheck, 'uploadOpened'>,
    UsageCheck {
  /** What the Objects table now holds under a key. */
  objectChanged(key: string, entry: Entry | null): void;
  /** What the Queue table now holds under an id. */
  queueChanged(id: string, item: QueueItem | null): void;
  /** A request of ours wrote bytes; `isLate` when nobody waits for it any more. */
  bytesWritten(backend: string, storageKey: string, by: Actor, isLate: boolean): void;
  /** A fault changed or removed bytes, or stored others than were sent; `isUnseen` when no ETag could tell the writer. */
  bytesHarmed(backend: string, storageKey: string, isUnseen?: boolean): void;
  /** A page of a listing was asked for: whether it came. */
  listed(by: Actor, backend: string, isAnswered: boolean): void;
  deleteAsked(actor: Actor, backend: string, storageKey: string, ifMatch: string | undefined): void;
  /** The delete takes effect now. */
  deleteHappens(actor: Actor, backend: string, storageKey: string, ifMatch: string | undefined): void;
}
