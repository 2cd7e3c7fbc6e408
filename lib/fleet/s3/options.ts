import type { Clock } from '../../base/clock.ts';
import type { Capabilities } from '../backend.ts';
import type { OnRequest, S3Timeouts } from './wire.ts';

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** Fetches keys, and keeps them as long as they may be used; its failure is `missing-credentials`. */
export interface S3KeySource {
  (): Promise<S3Keys>;
  /** After keys were refused: whether others are to be had now, which it gives from then on. */
  renew?(refused: S3Keys): Promise<boolean>;
}

export type S3Credentials = S3Keys | S3KeySource;

export interface S3ConnectionOptions {
  readonly name: string;
  /** Absent for AWS itself. */
  readonly endpoint?: string;
  readonly region: string;
  readonly bucket: string;
  /** Empty, or ends in `/`. Prepended to every storage key. */
  readonly prefix: string;
  readonly pathStyle: boolean;
  readonly credentials: S3Credentials;
  /** Used by `delete` alone. */
  readonly deleteCredentials?: S3Credentials;
  readonly capabilities: Capabilities;
  readonly clock: Clock;
  /** Of what is written there, apart from the few keys of the fleet's own [the bucket's]. */
  readonly storageClass?: string;
  /** [2 s to connect, 30 s to answer, 30 s without a byte] */
  readonly timeouts?: Partial<S3Timeouts>;
  /** Requests that may wait for an answer at a time, and idle sockets kept [64]. */
  readonly maxSockets?: number;
  /** Attempts at a request that can be sent again [3]. */
  readonly attempts?: number;
  readonly onRequest?: OnRequest;
  /** Told of each good answer once it is here whole; not of an object's. */
  readonly onAnswer?: () => void;
}
