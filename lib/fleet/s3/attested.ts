/** The SHA-256 of a whole object, hex; undefined for the checksum of checksums of a multipart upload, `<base64>-<parts>`. */
export function attestedSha256(checksum: string | undefined, type: string | undefined): string | undefined {
  if (type === 'COMPOSITE' || checksum === undefined || !/^[A-Za-z0-9+/]{43}=$/.test(checksum)) return undefined;
  return Buffer.from(checksum, 'base64').toString('hex');
}

/** What the headers of an answer attest. */
export function sha256OfHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): string | undefined {
  return attestedSha256(headers['x-amz-checksum-sha256']?.toString(), headers['x-amz-checksum-type']?.toString());
}
