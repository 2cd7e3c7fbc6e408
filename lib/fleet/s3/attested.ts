/** What an answer says of checksums. */
interface Attesting {
  readonly ChecksumSHA256?: string | undefined;
  readonly ChecksumType?: string | undefined;
}

/** The SHA-256 of a whole object, hex; undefined for the checksum of checksums of a multipart upload, `<base64>-<parts>`. */
export function attestedSha256({ ChecksumSHA256: checksum, ChecksumType: type }: Attesting): string | undefined {
  if (type === 'COMPOSITE' || checksum === undefined || !/^[A-Za-z0-9+/]{43}=$/.test(checksum)) return undefined;
  return Buffer.from(checksum, 'base64').toString('hex');
}
