import { hash } from 'node:crypto';
import { type Body, collect } from '../../lib/base/bytes.ts';
import { type EncryptionConfig, encryptingKeyOf, keyIdOf, keysOf } from '../../lib/config/encryption.ts';
import { boundGeneration, boundKey, rawNamespace } from '../../lib/transfer/ciphertext.ts';
import { type Binding, type Keyring, KeyringError } from '../../lib/transfer/keyring.ts';

/** Small, so that small contents have several frames. */
const frameBytes = 64;
const tagBytes = 16;
const lastFrame = 0xffffffff;

/**
 * A keyring whose messages are laid out like those of the encryption SDK, headers and frames alike, so that they are
 * recognised as they are in production; the cipher itself is a toy. The same content of the same key and generation
 * encrypts alike each time, and no time passes: a history must be the same again.
 */
export function createToyKeyring(config: EncryptionConfig): Keyring {
  const keys = keysOf(config).map(keyIdOf);
  const encryptsWith = encryptingKeyOf(config);
  const keyId = encryptsWith === undefined ? null : keyIdOf(encryptsWith);
  return {
    keyId,
    problems: [],
    async *encrypt(plaintext, binding) {
      if (keyId === null) throw new KeyringError('The fleet file names no key that encrypts');
      yield sealed(await collect(plaintext), keyId, binding);
    },
    async *decrypt(ciphertext, id, binding) {
      if (!keys.includes(id)) throw new KeyringError(`The fleet file lists no key "${id}"`);
      yield* opened(ciphertext, id, binding);
    },
  };
}

function sealed(plain: Uint8Array, keyId: string, binding: Binding): Buffer {
  const frames: Buffer[] = [];
  const count = Math.floor(plain.length / frameBytes) + 1;
  for (let i = 0; i < count; i += 1) {
    const content = mixed(plain.subarray(i * frameBytes, (i + 1) * frameBytes), keyId);
    const number = uint(4, i + 1);
    const iv = Buffer.alloc(12, i);
    const tag = tagOf(keyId, binding, i, content);
    const isLast = i === count - 1;
    frames.push(
      isLast
        ? Buffer.concat([uint(4, lastFrame), number, iv, uint(4, content.length), content, tag])
        : Buffer.concat([number, iv, content, tag]),
    );
  }
  return Buffer.concat([headerOf(keyId, binding), ...frames]);
}

function headerOf(keyId: string, { key, generation }: Binding): Buffer {
  const name = keyId.replace(/^env:/, '');
  const context = Buffer.concat([uint(2, 2), text(boundGeneration), text(generation), text(boundKey), text(key)]);
  const info = Buffer.concat([Buffer.from(name), uint(4, 128), uint(4, 12), Buffer.alloc(12)]);
  return Buffer.concat([
    uint(1, 2),
    uint(2, 0x0478),
    sha256(`${keyId} ${key} ${generation}`),
    uint(2, context.length),
    context,
    uint(2, 1),
    text(rawNamespace),
    uint(2, info.length),
    info,
    text('wrapped key'),
    uint(1, 2),
    uint(4, frameBytes),
    Buffer.alloc(32 + tagBytes),
  ]);
}

/** Frame by frame as they come: what is wrong in one is said before those behind it are read. */
async function* opened(ciphertext: Body, keyId: string, binding: Binding): Body {
  const header = headerOf(keyId, binding);
  let left = Buffer.alloc(0);
  let isHeaderRead = false;
  let frame = 0;
  for await (const chunk of ciphertext) {
    left = Buffer.concat([left, chunk]);
    if (!isHeaderRead) {
      if (left.length < header.length) continue;
      if (!left.subarray(0, header.length).equals(header))
        throw new KeyringError('It was encrypted as another content');
      left = left.subarray(header.length);
      isHeaderRead = true;
    }
    for (;;) {
      const next = nextFrame(left);
      if (next === null) break;
      if (!tagOf(keyId, binding, frame, next.content).equals(next.tag))
        throw new KeyringError('A frame is not authentic');
      if (next.content.length > 0) yield mixed(next.content, keyId);
      left = left.subarray(next.bytes);
      frame += 1;
      if (next.isLast) return;
    }
  }
  throw new KeyringError('The message ends early');
}

/** The next whole frame at the beginning of bytes; null when there is none yet. */
function nextFrame(bytes: Buffer): { content: Buffer; tag: Buffer; bytes: number; isLast: boolean } | null {
  if (bytes.length < 24) return null;
  const isLast = bytes.readUInt32BE(0) === lastFrame;
  const from = isLast ? 24 : 16;
  const to = from + (isLast ? bytes.readUInt32BE(20) : frameBytes);
  if (bytes.length < to + tagBytes) return null;
  return { content: bytes.subarray(from, to), tag: bytes.subarray(to, to + tagBytes), bytes: to + tagBytes, isLast };
}

function mixed(bytes: Uint8Array, keyId: string): Buffer {
  const pad = sha256(keyId);
  return Buffer.from(bytes.map((byte, i) => byte ^ pad[i % pad.length]!));
}

function tagOf(keyId: string, { key, generation }: Binding, frame: number, content: Uint8Array): Buffer {
  return sha256(`${keyId} ${key} ${generation} ${frame} ${Buffer.from(content).toString('hex')}`).subarray(0, tagBytes);
}

function sha256(what: string): Buffer {
  return hash('sha256', what, 'buffer');
}

function uint(bytes: number, value: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

/** Behind its length. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint(2, bytes.length), bytes]);
}
