import { createReadStream } from 'node:fs';
import { mkdtemp, open as openFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Body, bodyOf, collect } from '../base/bytes.ts';
import type { Encryption } from '../store/model.ts';
import type { Binding, Keyring } from '../transfer/keyring.ts';
import { digestOf } from '../transfer/verify.ts';
import { HoldfastError } from './error.ts';

/** Content as it will be stored, readable any number of times until it is disposed of. */
export interface Sealed {
  readonly open: () => Body;
  readonly sizeBytes: number;
  /** Hex SHA-256 of the stored bytes. */
  readonly sha256: string;
  readonly encryption?: Encryption;
  /** The generation that the content was encrypted under, where the object has another by now. */
  readonly writtenAs?: string;
  dispose(): Promise<void>;
}

/** Ciphertext up to this size stays in memory; more goes through a temporary file, since it cannot be made twice alike. */
const memoryBytes = 16 * 1024 * 1024;

/** Content that is stored as it is. */
export async function unsealed(open: () => Body, sizeBytes: number): Promise<Sealed> {
  const digest = await digestOf(open());
  if (digest.sizeBytes !== sizeBytes) {
    throw new HoldfastError('bad-body', `The content has ${digest.sizeBytes} bytes; ${sizeBytes} were announced`);
  }
  return { open, sizeBytes, sha256: digest.sha256, dispose: async () => {} };
}

/** Encrypts content for a key and generation. Throws `KeyringError` when the key service does not answer. */
export async function seal(keyring: Keyring, binding: Binding, open: () => Body, sizeBytes: number): Promise<Sealed> {
  // Where no key encrypts, `encrypt` says so before there is anything to record.
  const keyId = keyring.keyId ?? '';
  const plain = await digestOf(open());
  const encryption = { plaintextSha256: plain.sha256, plaintextBytes: plain.sizeBytes, keyId };
  const ciphertext = keyring.encrypt(open(), binding);
  if (sizeBytes <= memoryBytes) {
    const bytes = await collect(ciphertext);
    return { ...(await unsealed(() => bodyOf(bytes), bytes.length)), encryption };
  }
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'));
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'ciphertext');
    let written = 0;
    const file = await openFile(path, 'wx', 0o600);
    try {
      for await (const chunk of ciphertext) {
        await file.writeFile(chunk);
        written += chunk.length;
      }
    } finally {
      await file.close();
    }
    return { ...(await unsealed(() => createReadStream(path), written)), encryption, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
