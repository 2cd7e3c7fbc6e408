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
import {
  type EncryptionConfig,
  encryptingKeyOf,
  type KeyChecks,
  type KeyConfig,
  keyIdOf,
  keysOf,
  rawKeyCheck,
} from '../config/encryption.ts';
import { boundGeneration, boundKey, rawNamespace } from '../transfer/ciphertext.ts';
import { type Binding, type Keyring, KeyringError } from '../transfer/keyring.ts';
import { cipherProblem } from './cipher-problem.ts';

/**
 * Key-committing and unsigned: a reader must not get plaintext that a signature at the end would take back; every frame is
 * authenticated by itself. Source: AWS Encryption SDK, supported algorithm suites.
 */
const suiteId = AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
const frameLength = 64 * 1024;

const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

type Env = Readonly<Record<string, string | undefined>>;
type NodeKeyring = KmsKeyringNode | RawAesKeyringNode;

/**
 * The keys that a fleet file lists: in KMS, or raw 256-bit AES keys from the environment. One that this process does not have
 * is told in `problems`, and stands in the way of nothing that does not need it.
 */
export function createKeyring(config: EncryptionConfig, env: Env, checks: KeyChecks = {}): Keyring {
  const keyrings = new Map<string, NodeKeyring | KeyringError>();
  for (const key of keysOf(config)) keyrings.set(keyIdOf(key), openKey(key, env, checks));
  const encryptsWith = encryptingKeyOf(config);
  const keyId = encryptsWith === undefined ? null : keyIdOf(encryptsWith);
  const keyringFor = (id: string, action: string): NodeKeyring => {
    const keyring = keyrings.get(id);
    if (keyring === undefined) throw new KeyringError(`Cannot ${action}: the fleet file lists no key "${id}"`);
    if (keyring instanceof KeyringError) throw new KeyringError(`Cannot ${action}: ${keyring.message}`);
    return keyring;
  };
  return {
    keyId,
    problems: [...keyrings.values()].flatMap((keyring) => (keyring instanceof KeyringError ? [keyring.message] : [])),
    async *encrypt(plaintext, binding) {
      const action = `encrypt "${binding.key}"`;
      if (keyId === null) throw new KeyringError(`Cannot ${action}: the fleet file names no key that encrypts`);
      const options = { suiteId, frameLength, encryptionContext: contextOf(binding) };
      yield* through(plaintext, client.encryptStream(keyringFor(keyId, action), options) as Duplex, action, keyId);
    },
    async *decrypt(ciphertext, id, binding) {
      const action = `decrypt "${binding.key}"`;
      const plain = client.decryptUnsignedMessageStream(keyringFor(id, action)) as Duplex;
      plain.on('MessageHeader', ({ encryptionContext }: { encryptionContext: EncryptionContext }) => {
        const wanted = Object.entries(contextOf(binding));
        if (wanted.some(([name, value]) => encryptionContext[name] !== value)) {
          plain.destroy(new Error('it was encrypted as another content'));
        }
      });
      yield* through(ciphertext, plain, action, id);
    },
  };
}

function contextOf({ key, generation }: Binding): Record<string, string> {
  return { [boundKey]: key, [boundGeneration]: generation };
}

function openKey(key: KeyConfig, env: Env, checks: KeyChecks): NodeKeyring | KeyringError {
  if ('kmsKeyArn' in key) return new KmsKeyringNode({ generatorKeyId: key.kmsKeyArn });
  try {
    const check = checks[keyIdOf(key)];
    const value = env[key.rawKeyEnv] ?? '';
    if (check !== undefined && value !== '' && rawKeyCheck(value) !== check)
      throw new KeyringError(`The key in ${key.rawKeyEnv} is not the one that the fleet file was applied with`);
    return rawKeyring(key.rawKeyEnv, env);
  } catch (error) {
    if (error instanceof KeyringError) return error;
    throw error;
  }
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
async function* through(source: Body, cipher: Duplex, action: string, keyId: string): Body {
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
    throw new KeyringError(`Cannot ${action}: ${cipherProblem(error, keyId)}`, { cause: error });
  } finally {
    cipher.destroy();
  }
}
