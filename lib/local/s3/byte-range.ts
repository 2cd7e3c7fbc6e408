import { S3Error } from './errors.ts';

export interface ByteRange {
  /** First byte. */
  start: number;
  length: number;
}

/**
 * The bytes that a Range header asks for. Undefined for a header that S3
 * ignores: another unit, several ranges, or one that makes no sense.
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (!match) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    if (length === 0) throw notSatisfiable(header, sizeBytes);
    return { start: sizeBytes - length, length };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= sizeBytes) throw notSatisfiable(header, sizeBytes);
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  return { start, length: end - start + 1 };
}

/** The range of a part copy: both ends given, and inside the source. */
export function parseCopyRange(header: string | undefined, sizeBytes: number): ByteRange {
  if (header === undefined) return { start: 0, length: sizeBytes };
  const match = /^bytes=(\d+)-(\d+)$/.exec(header);
  if (!match) {
    throw new S3Error('InvalidArgument', 'The x-amz-copy-source-range value must be of the form bytes=first-last');
  }
  const start = Number(match[1]);
  const end = Number(match[2]);
  if (end < start || end >= sizeBytes) {
    throw new S3Error('InvalidArgument', `Range specified is not valid for source object of size: ${sizeBytes}`);
  }
  return { start, length: end - start + 1 };
}

function notSatisfiable(header: string | undefined, sizeBytes: number): S3Error {
  const fields = { RangeRequested: header ?? '', ActualObjectSize: String(sizeBytes) };
  return new S3Error('InvalidRange', { fields, headers: { 'content-range': `bytes */${sizeBytes}` } });
}
