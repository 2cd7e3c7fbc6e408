import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { createKeyring } from '../../lib/process/keyring.ts';
import { ciphertextHeaderBytes, encryptionOf } from '../../lib/transfer/ciphertext.ts';

const binding = { key: 'sealed/é😀', generation: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
const keyring = createKeyring({ rawKeyEnv: 'FLEET_KEY' }, { FLEET_KEY: randomBytes(32).toString('base64') });
const sealed = (bytes: Uint8Array) => collect(keyring.encrypt(bodyOf(bytes), binding));

test.each([0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])(
  'ciphertext of %i bytes says by itself which key encrypted it and how long its plaintext is',
  async (plaintextBytes) => {
    const bytes = await sealed(randomBytes(plaintextBytes));
    const first = bytes.subarray(0, ciphertextHeaderBytes);
    expect(encryptionOf(first, bytes.length, binding)).toEqual({ plaintextBytes, keyId: 'env:FLEET_KEY' });
    expect(encryptionOf(first, bytes.length, { ...binding, key: 'another' })).toBeNull();
    expect(encryptionOf(first, bytes.length, { ...binding, generation: 'another' })).toBeNull();
  },
);

test('what is no ciphertext, or not all of its header, is none', async () => {
  const bytes = await sealed(randomBytes(100));
  const header = bytes.length - 100 - 40;
  for (let length = 0; length < header; length += 1)
    expect(encryptionOf(bytes.subarray(0, length), bytes.length, binding)).toBeNull();
  for (let i = 0; i < 200; i += 1) {
    const random = randomBytes(300);
    random[0] = 2;
    expect(encryptionOf(random, random.length, binding)).toBeNull();
  }
});
