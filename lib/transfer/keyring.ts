import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Encryption, ObjectRecord } from '../store/model.ts';
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
  /** Names the key, for the record. */
  readonly keyId: string;
  encrypt(plaintext: Body, binding: Binding): Body;
  decrypt(ciphertext: Body, binding: Binding): Body;
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
  const { plaintextBytes, plaintextSha256 } = object.encryption;
  const expected = { sizeBytes: plaintextBytes, ...defined({ sha256: plaintextSha256 }) };
  return verifying(keyring.decrypt(ciphertext, object), expected, `The plaintext of "${object.key}"`);
}

/** Whether stored bytes decrypt to the plaintext that was put. Throws `KeyringError` when that cannot be said. */
export async function plaintextVerifies(
  keyring: Keyring,
  object: ObjectRecord & { readonly encryption: Encryption },
  ciphertext: Body,
): Promise<boolean> {
  const { plaintextBytes, plaintextSha256 } = object.encryption;
  const { sizeBytes, sha256 } = await digestOf(keyring.decrypt(ciphertext, object));
  return sizeBytes === plaintextBytes && (plaintextSha256 === undefined || sha256 === plaintextSha256);
}

/** Narrows to an encrypted object. */
export function isEncrypted(object: ObjectRecord): object is ObjectRecord & { readonly encryption: Encryption } {
  return object.encryption !== undefined;
}
