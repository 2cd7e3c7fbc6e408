/** A body as it streams through Holdfast: chunks of any size, consumed once. */
export type Body = AsyncIterable<Uint8Array>;

/** Below it, the order of UTF-16 units is that of UTF-8 bytes. */
const firstSurrogate = 0xd800;

/** Compares two strings by their UTF-8 bytes, the order in which S3 lists keys. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  let at = 0;
  while (at < length && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  if (at === length) return Math.sign(a.length - b.length);
  const [one, other] = [a.charCodeAt(at), b.charCodeAt(at)];
  if (one < firstSurrogate && other < firstSurrogate) return Math.sign(one - other);
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** One chunk as a body. */
export async function* bodyOf(bytes: Uint8Array): Body {
  if (bytes.length > 0) yield bytes;
}

/** Reads a whole body into memory: for small bodies only. */
export async function collect(body: Body): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
