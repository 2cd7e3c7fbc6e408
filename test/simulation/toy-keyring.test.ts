import { expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { encryptionOf } from '../../lib/transfer/ciphertext.ts';
import { createToyKeyring } from './toy-keyring.ts';

const keyring = createToyKeyring({ rawKeyEnv: 'KEY_1' });
const binding = { key: 'k', generation: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };

test.each([0, 1, 63, 64, 65, 1000])(
  'a content of %i bytes comes back, and its message says what it is',
  async (size) => {
    const plain = Buffer.alloc(size, 'content ');
    const sealed = await collect(keyring.encrypt(bodyOf(plain), binding));
    expect(encryptionOf(sealed, sealed.length, binding)).toEqual({ plaintextBytes: size, keyId: 'env:KEY_1' });
    expect((await collect(keyring.decrypt(bodyOf(sealed), 'env:KEY_1', binding))).equals(plain)).toBe(true);
  },
);

test('one wrong bit, another key and another content are refused', async () => {
  const sealed = Buffer.from(await collect(keyring.encrypt(bodyOf(Buffer.alloc(200, 'x')), binding)));
  const open = (bytes: Uint8Array, id = 'env:KEY_1', generation = binding.generation) =>
    collect(keyring.decrypt(bodyOf(bytes), id, { key: 'k', generation }));
  await expect(open(sealed, 'env:KEY_2')).rejects.toThrow('lists no key');
  await expect(open(sealed, 'env:KEY_1', 'another')).rejects.toThrow('another content');
  sealed[sealed.length - 20]! ^= 1;
  await expect(open(sealed)).rejects.toThrow('not authentic');
});
