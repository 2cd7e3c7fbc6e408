import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Encryption, ObjectRecord } from '../store/model.ts';
import { bornAs } from '../store/records.ts';
import { digestOf, verifying } from './verify.ts';

/** What ciphertext is bound to: it decrypts only as this content of this key. */
export interface Binding {
  readonly key: string;
  readonly generation: string;
}

/**
 * Encrypts and decrypts whole contents, streamed. Ciphertext describes itself, so copies move it as it is. Failures of a key
 * service, a missing key and foreign ciphertext are all thrown as `KeyringError`: they say nothing about the stored bytes.
 */
export interface Keyring {
  /** Names the key that encrypts, for the record; null where the fleet only decrypts. */
  readonly keyId: string | null;
  /** Why keys that the fleet file lists cannot be had in this process, a sentence each. */
  readonly problems: readonly string[];
  /** What goes wrong here and in `decrypt` is thrown to whoever reads the result. */
  encrypt(plaintext: Body, binding: Binding): Body;
  /** With the key of this name: the one that the record names, and no other. */
  decrypt(ciphertext: Body, keyId: string, binding: Binding): Body;
}

/** Content could not be encrypted or decrypted now. Never evidence against a copy. */
export class KeyringError extends Error {
  override readonly name = 'KeyringError';
}

/** The plaintext of an object's stored bytes; the last chunk is held back until its digest was found right. */
export function decrypted(
  keyring: Keyring,
  object: ObjectRecord & { readonly encryption: Encryption },
  ciphertext: Body,
): Body {
  const { plaintextBytes, plaintextSha256, keyId } = object.encryption;
  const expected = { sizeBytes: plaintextBytes, ...defined({ sha256: plaintextSha256 }) };
  return verifying(keyring.decrypt(ciphertext, keyId, bindingOf(object)), expected, `The plaintext of "${object.key}"`);
}

/** What the stored ciphertext of an object is bound to. */
function bindingOf(object: ObjectRecord): Binding {
  return { key: object.key, generation: bornAs(object) };
}

/** Whether stored bytes decrypt to the plaintext that was put. Throws `KeyringError` when that cannot be said. */
export async function plaintextVerifies(
  keyring: Keyring,
  object: ObjectRecord & { readonly encryption: Encryption },
  ciphertext: Body,
): Promise<boolean> {
  const { plaintextBytes, plaintextSha256, keyId } = object.encryption;
  try {
    const { sizeBytes, sha256 } = await digestOf(keyring.decrypt(ciphertext, keyId, bindingOf(object)));
    return sizeBytes === plaintextBytes && (plaintextSha256 === undefined || sha256 === plaintextSha256);
  } finally {
    // A key that cannot be had fails before a byte is asked for, and others read the same bytes.
    await ciphertext[Symbol.asyncIterator]().return?.();
  }
}

/** Narrows to an encrypted object. */
export function isEncrypted(object: ObjectRecord): object is ObjectRecord & { readonly encryption: Encryption } {
  return object.encryption !== undefined;
}
