import { defined } from '../../base/defined.ts';
import { tee } from '../../base/tee.ts';
import type { Encryption, ObjectRecord } from '../../store/model.ts';
import { type Keyring, plaintextVerifies } from '../../transfer/keyring.ts';
import type { CopyReader, Reading, ReadOptions } from '../../transfer/reading/reading.ts';
import type { StoredBytes } from '../../transfer/reading/stored-bytes.ts';

/** What came of deciphering stored bytes. */
export type PlaintextCheck =
  | { readonly outcome: 'good' }
  | { readonly outcome: 'differs' }
  | { readonly outcome: 'unreadable'; readonly detail: string };

/**
 * Compares the plaintext too, in the same read, where that ends in one tick: else there is no check. What goes wrong there is
 * said, and is never evidence against the stored bytes.
 */
export async function readWithPlaintext(
  reader: CopyReader,
  bytes: StoredBytes,
  object: ObjectRecord & { readonly encryption: Encryption },
  keyring: Keyring,
  options: ReadOptions,
): Promise<Reading & { readonly plaintext?: PlaintextCheck }> {
  let plaintext: Promise<PlaintextCheck | undefined> = Promise.resolve(undefined);
  const reading = await reader.read(bytes, {
    ...options,
    alongside(body) {
      const { main, side } = tee(body);
      plaintext = plaintextVerifies(keyring, object, side).then(
        (isRight): PlaintextCheck => ({ outcome: isRight ? 'good' : 'differs' }),
        (error: Error): PlaintextCheck => ({ outcome: 'unreadable', detail: error.message }),
      );
      return main;
    },
  });
  const found = await plaintext;
  return reading.outcome === 'good' ? { ...reading, ...defined({ plaintext: found }) } : reading;
}
