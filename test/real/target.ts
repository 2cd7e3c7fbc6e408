import { systemClock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import type { S3BackendOptions } from '../../lib/fleet/s3-backend.ts';

/** A bucket (or a prefix of one) at a server that is there, to be tried. Everything is written below `prefix`. */
export interface Target {
  readonly name: string;
  /** Absent for AWS itself. */
  readonly endpoint?: string;
  readonly region: string;
  readonly bucket: string;
  /** Of this run alone; ends in `/`. */
  readonly prefix: string;
  readonly pathStyle: boolean;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Larger objects go elsewhere. */
  readonly maxObjectBytes?: number;
}

/** A target with what was found that it can do. */
export interface ProbedTarget extends Target {
  readonly capabilities: Capabilities;
}

/** How the adapter is told of a place below the target's prefix. */
export function optionsFor(
  { name, endpoint, region, bucket, prefix, pathStyle, credentials }: Target,
  below: string,
): Omit<S3BackendOptions, 'capabilities'> {
  const at = { region, bucket, prefix: `${prefix}${below}`, pathStyle };
  return { name, ...at, credentials, clock: systemClock, ...defined({ endpoint }) };
}
