/** What identifies the bytes of a backend: a change of it is refused while anything is recorded there. */
export interface Fingerprint {
  readonly endpoint: string;
  readonly bucket: string;
  readonly prefix: string;
}

/** The fields of a backend that say where its bytes are. */
export interface Placed {
  readonly endpoint?: string | undefined;
  readonly region: string;
  readonly bucket: string;
  readonly prefix: string;
}

/** The fingerprint of a backend: endpoint in its shortest form, bucket and prefix. */
export function fingerprintOf(config: Placed): Fingerprint {
  const url =
    config.endpoint === undefined ? `https://s3.${config.region}.amazonaws.com` : new URL(config.endpoint).origin;
  return { endpoint: url, bucket: config.bucket, prefix: config.prefix };
}

/** Whether two backends could name the same bytes. */
export function overlaps(a: Placed, b: Placed): boolean {
  return fingerprintsOverlap(fingerprintOf(a), fingerprintOf(b));
}

export function fingerprintsOverlap(a: Fingerprint, b: Fingerprint): boolean {
  return (
    a.endpoint === b.endpoint &&
    a.bucket === b.bucket &&
    (a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix))
  );
}
