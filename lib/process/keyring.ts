import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  AlgorithmSuiteIdentifier,
  buildClient,
  CommitmentPolicy,
  type EncryptionContext,
  KmsKeyringNode,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
} from '@aws-crypto/client-node';
import type { Body } from '../base/bytes.ts';
import type { FleetFile } from '../config/fleet-file.ts';
import { boundGeneration, boundKey, rawNamespace } from '../transfer/ciphertext.ts';
import { type Binding, type Keyring, KeyringError } from '../transfer/keyring.ts';

/**
 * Key-committing and unsigned: a reader must not get plaintext that a signature at the end would take back; every frame is
 * authenticated by itself. Source: AWS Encryption SDK, supported algorithm suites.
 */
const suiteId = AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
const frameLength = 64 * 1024;

const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

/**
 * The keyring that a fleet file asks for: a KMS key, or a raw 256-bit AES key from the environment.
 *
 * @throws KeyringError when the variable is missing or does not hold 32 bytes in base64
 */
export function createKeyring(
  config: NonNullable<FleetFile['encryption']>,
  env: Readonly<Record<string, string | undefined>>,
): Keyring {
  const keyring =
    'kmsKeyArn' in config
      ? new KmsKeyringNode({ generatorKeyId: config.kmsKeyArn })
      : rawKeyring(config.rawKeyEnv, env);
  const keyId = 'kmsKeyArn' in config ? config.kmsKeyArn : `env:${config.rawKeyEnv}`;
  return {
    keyId,
    encrypt(plaintext, binding) {
      const cipher = client.encryptStream(keyring, { suiteId, frameLength, encryptionContext: contextOf(binding) });
      return through(plaintext, cipher as Duplex, `encrypt "${binding.key}"`);
    },
    decrypt(ciphertext, binding) {
      const plain = client.decryptUnsignedMessageStream(keyring) as Duplex;
      plain.on('MessageHeader', ({ encryptionContext }: { encryptionContext: EncryptionContext }) => {
        const wanted = Object.entries(contextOf(binding));
        if (wanted.some(([name, value]) => encryptionContext[name] !== value)) {
          plain.destroy(new Error('it was encrypted as another content'));
        }
      });
      return through(ciphertext, plain, `decrypt "${binding.key}"`);
    },
  };
}

function contextOf({ key, generation }: Binding): Record<string, string> {
  return { [boundKey]: key, [boundGeneration]: generation };
}

function rawKeyring(name: string, env: Readonly<Record<string, string | undefined>>): RawAesKeyringNode {
  const text = env[name];
  if (text === undefined || text === '')
    throw new KeyringError(`The key for encryption is missing: set ${name} (base64, 32 bytes)`);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 32)
    throw new KeyringError(`The key in ${name} has ${bytes.length} bytes; it must be 32, in base64`);
  // The SDK wants a key in a buffer of its own, not in a part of a shared one.
  const unencryptedMasterKey = new Uint8Array(32);
  unencryptedMasterKey.set(bytes);
  return new RawAesKeyringNode({
    keyName: name,
    keyNamespace: rawNamespace,
    unencryptedMasterKey,
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
  });
}

/** A failure of the source is thrown as it is; one of the cipher as `KeyringError`. */
async function* through(source: Body, cipher: Duplex, action: string): Body {
  let sourceError: unknown;
  const watched = async function* () {
    try {
      yield* source;
    } catch (error) {
      sourceError = error;
      throw error;
    }
  };
  const flow = pipeline(Readable.from(watched(), { objectMode: false }), cipher);
  flow.catch(() => {});
  try {
    for await (const chunk of cipher) yield chunk as Buffer;
    await flow;
  } catch (error) {
    if (sourceError !== undefined) throw sourceError;
    throw new KeyringError(`Cannot ${action}: ${(error as Error).message}`, { cause: error });
  } finally {
    cipher.destroy();
  }
}
