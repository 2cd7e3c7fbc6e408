import type { Encryption } from '../store/model.ts';
import type { Binding } from './keyring.ts';

/** So many first bytes of a content tell whether it is ciphertext of ours: a header holds two names and the wrapped keys. */
export const ciphertextHeaderBytes = 16 * 1024;

/** Both are said to the encryption SDK, which authenticates them with every message. */
export const boundKey = 'holdfast:key';
export const boundGeneration = 'holdfast:generation';

/** The namespace of raw keys, and how the SDK calls keys of KMS. */
export const rawNamespace = 'holdfast';
const kmsProvider = 'aws-kms';

/**
 * How bytes were encrypted, read from the message itself: null unless they are ciphertext of exactly this key and generation.
 * No key is needed for that, so it also works for whoever rebuilds records and may not decrypt. Everything said here is
 * authenticated when the content is decrypted. The digest of the plaintext is not in it.
 *
 * @param first the first `ciphertextHeaderBytes` of the stored bytes, or all of them
 * @param sizeBytes of the stored bytes
 * @see https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html
 */
export function encryptionOf(first: Uint8Array, sizeBytes: number, binding: Binding): Encryption | null {
  const header = readMessageHeader(first);
  if (header === null) return null;
  if (header.context.get(boundKey) !== binding.key) return null;
  if (header.context.get(boundGeneration) !== binding.generation) return null;
  const plaintextBytes = plaintextBytesOf(sizeBytes - header.headerBytes, header.frameBytes);
  return plaintextBytes === null ? null : { plaintextBytes, keyId: header.keyId };
}

/** Frames of equal length, each with its number, IV and tag. The last frame says so, and how long it is. */
function plaintextBytesOf(bodyBytes: number, frameBytes: number): number | null {
  const frameOverheadBytes = 4 + 12 + 16;
  const lastOverheadBytes = 4 + 4 + 12 + 4 + 16;
  const behind = bodyBytes - lastOverheadBytes;
  if (behind < 0) return null;
  const frames = Math.floor(behind / (frameBytes + frameOverheadBytes));
  const last = behind - frames * (frameBytes + frameOverheadBytes);
  return last > frameBytes ? null : frames * frameBytes + last;
}

/** What a message says of itself. */
export interface MessageHeader {
  readonly context: ReadonlyMap<string, string>;
  readonly keyId: string;
  readonly frameBytes: number;
  readonly headerBytes: number;
}

const committingVersion = 2;
const framed = 2;
/** Message id, and behind the frame length: commitment and tag of the header. */
const messageIdBytes = 32;
const commitmentBytes = 32;
const tagBytes = 16;

export function readMessageHeader(bytes: Uint8Array): MessageHeader | null {
  const at = createReader(bytes);
  try {
    if (at.uint(1) !== committingVersion) return null;
    at.uint(2); // the algorithm suite: the version says that it commits to its key
    at.take(messageIdBytes);
    const context = readContext(at);
    const keyId = readKeyId(at);
    if (keyId === null || at.uint(1) !== framed) return null;
    const frameBytes = at.uint(4);
    at.take(commitmentBytes + tagBytes);
    return { context, keyId, frameBytes, headerBytes: at.position() };
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function readContext(at: Reader): Map<string, string> {
  const endsAt = at.uint(2) + at.position();
  const context = new Map<string, string>();
  if (endsAt === at.position()) return context;
  for (let left = at.uint(2); left > 0; left -= 1) {
    const name = at.text();
    context.set(name, at.text());
  }
  return at.position() === endsAt ? context : new Map();
}

/** The first wrapped key names the key that encrypted, whatever others may decrypt too. */
function readKeyId(at: Reader): string | null {
  let keyId: string | null = null;
  for (let left = at.uint(2); left > 0; left -= 1) {
    const [provider, info] = [at.text('latin1'), at.take(at.uint(2))];
    at.take(at.uint(2));
    keyId ??= keyIdFrom(provider, info);
  }
  return keyId;
}

/** A raw key's info is its name, then lengths of tag and IV and the IV itself: 4 + 4 + 12 bytes. */
function keyIdFrom(provider: string, info: Uint8Array): string | null {
  if (provider === kmsProvider) return Buffer.from(info).toString();
  if (provider === rawNamespace && info.length > 20) return `env:${Buffer.from(info.subarray(0, -20)).toString()}`;
  return null;
}

interface Reader {
  position(): number;
  uint(length: number): number;
  take(length: number): Uint8Array;
  /** Behind its length in two bytes. */
  text(encoding?: 'utf8' | 'latin1'): string;
}

/** Throws `RangeError` behind the end. */
function createReader(bytes: Uint8Array): Reader {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let next = 0;
  const take = (length: number) => {
    if (next + length > view.length) throw new RangeError('the header ends early');
    next += length;
    return view.subarray(next - length, next);
  };
  const uint = (length: number) => take(length).readUIntBE(0, length);
  return {
    position: () => next,
    take,
    uint,
    text: (encoding = 'utf8') => Buffer.from(take(uint(2))).toString(encoding),
  };
}
