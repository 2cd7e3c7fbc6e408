/**
 * Dates that nobody here reads, in forms of which the SDK knows one: a backend that writes them otherwise has answered all
 * the same. Sources: Wasabi and GCS, which send some of them in ISO 8601.
 */
const unreadDates = [
  'expires',
  'x-amz-abort-date',
  'x-amz-expiration',
  'x-amz-object-lock-retain-until-date',
  'x-amz-restore-expiry-date',
] as const;

/** Headers of an answer without what is not read, and with the one date that is in the form that HTTP has for it. */
export function tolerateHeaders(headers: Record<string, string>): void {
  for (const name of unreadDates) delete headers[name];
  const modified = headers['last-modified'];
  if (modified === undefined) return;
  const ms = Date.parse(modified);
  if (Number.isNaN(ms)) delete headers['last-modified'];
  else headers['last-modified'] = new Date(ms).toUTCString();
}

const isoDate = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)`;
const otherDate = new RegExp(`<(LastModified|Initiated|AbortDate|CreationDate)>(?!${isoDate}<)([^<]*)</\\1>`, 'g');

/** The same for an answer in XML: a date that is no date goes, and takes nothing else of its listing along. */
export function tolerateDates(body: Uint8Array): Uint8Array {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!text.includes('<LastModified>') && !text.includes('<Initiated>')) return body;
  const before = text.toString();
  const after = before.replace(otherDate, (_, name: string, date: string) => {
    const ms = Date.parse(date.trim());
    return Number.isNaN(ms) ? '' : `<${name}>${new Date(ms).toISOString()}</${name}>`;
  });
  return after === before ? body : Buffer.from(after);
}

/** An ETag in one form, whichever a backend writes: in quotes, without a mark of weakness. */
export function etagForm(etag: string): string {
  const bare = etag.replace(/^W\//, '').replace(/^"(.*)"$/s, '$1');
  return bare === '' ? '' : `"${bare}"`;
}
