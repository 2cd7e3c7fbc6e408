import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { KeyringError } from '../../lib/transfer/keyring.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const secret = 'the plaintext nobody else may see';

async function encrypted(): Promise<TestFleet> {
  return createTestFleet({
    backends: ['a', 'b'],
    encryption: { rawKeyEnv: 'FLEET_KEY' },
    policies,
    env: { FLEET_KEY: randomBytes(32).toString('base64') },
  });
}

const policies = { default: { factor: 2 }, sealed: { prefix: 'sealed/', factor: 2, encrypt: true } };

const rotated = (fleet: TestFleet, encryption: object) =>
  fleet.apply({ backends: ['a', 'b'], policies, encryption: encryption as Record<string, string> });

const textOf = async (fleet: TestFleet, key: string) =>
  (await collect((await fleet.newClient().get(key))!.body)).toString();

test('content under an encrypting policy is stored as ciphertext, copied as ciphertext, and read as plaintext [encrypted-before-leaving]', async () => {
  const fleet = await encrypted();
  const sha256 = createHash('sha256').update(secret).digest('hex');
  expect(await fleet.client.put('sealed/x', secret)).toMatchObject({ sizeBytes: secret.length, sha256 });
  await fleet.client.put('open/x', secret);
  await fleet.tick('replicator');
  const stored = fleet
    .keysOn('a')
    .concat(fleet.keysOn('b'))
    .filter((key) => key.startsWith('sealed/'));
  expect(stored).toHaveLength(2);
  const bytes = ['a', 'b'].map((name) =>
    Buffer.from(fleet.backends[name]!.peek(fleet.keysOn(name).find((k) => k.startsWith('sealed/'))!)!.bytes),
  );
  expect(bytes[0]!.equals(bytes[1]!)).toBe(true);
  expect(bytes[0]!.includes(secret)).toBe(false);
  expect(await textOf(fleet, 'sealed/x')).toBe(secret);
  expect(await textOf(fleet, 'open/x')).toBe(secret);
  expect(await fleet.client.head('sealed/x')).toMatchObject({ sizeBytes: secret.length, sha256 });
  expect(fleet.object('sealed/x')).toMatchObject({
    sizeBytes: bytes[0]!.length,
    encryption: { keyId: 'env:FLEET_KEY', plaintextSha256: sha256 },
  });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('ciphertext is bound to its key and generation: under another record it does not open [ciphertext-bound]', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/one', 'one');
  await fleet.client.put('sealed/two', 'two');
  const one = fleet.object('sealed/one');
  const two = fleet.object('sealed/two');
  const bytes = fleet.backends.a!.peek(`sealed/one!${one.copies.a}`)!.bytes;
  fleet.backends.a!.putNow(`sealed/two!${two.copies.a}`, bytes);
  fleet.store.apply([
    { kind: 'object', put: { ...two, rev: two.rev + 1, sizeBytes: one.sizeBytes, sha256: one.sha256! }, expect: two },
  ]);
  await expect(textOf(fleet, 'sealed/two')).rejects.toMatchObject({
    kind: 'no-key',
    message: expect.stringContaining('encrypted as another content'),
  });
});

test('a big content is encrypted through a temporary file and read back in a stream', async () => {
  const fleet = await encrypted();
  const big = randomBytes(20 * 1024 * 1024);
  await fleet.client.put('sealed/big', {
    sizeBytes: big.length,
    open: async function* () {
      for (let i = 0; i < big.length; i += 1_000_000) yield big.subarray(i, i + 1_000_000);
    },
  });
  const found = await fleet.client.get('sealed/big');
  expect((await collect(found!.body)).equals(big)).toBe(true);
});

test.each(['missing', 'another'])(
  'with a key that is %s nothing is read, nothing is quarantined and copies still move [workers-need-no-key]',
  async (what) => {
    const fleet = await encrypted();
    await fleet.client.put('sealed/x', secret);
    if (what === 'missing') delete fleet.env.FLEET_KEY;
    else fleet.env.FLEET_KEY = randomBytes(32).toString('base64');
    await expect(textOf(fleet, 'sealed/x')).rejects.toMatchObject({ kind: 'no-key' });
    await fleet.tick('replicator');
    const report = await fleet.tick('scrubber');
    expect(report).toMatchObject({ failed: 2, reasons: { 'plaintext-unreadable': 2 } });
    expect(report).toMatchObject({ outcome: 'error', message: expect.stringContaining('FLEET_KEY') });
    expect(Object.keys(fleet.object('sealed/x').copies)).toEqual(['a', 'b']);
    expect(fleet.object('sealed/x').condition).toBe('sound');
    expect(fleet.queue()).toEqual([]);
  },
);

test('a scrub of big ciphertext whose key is missing ends, as an error, with its stored bytes verified', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/big', randomBytes(3_000_000));
  delete fleet.env.FLEET_KEY;
  const report = await fleet.tick('scrubber');
  expect(report).toMatchObject({ outcome: 'error', planned: 1, reasons: { 'plaintext-unreadable': 1 } });
  expect(fleet.object('sealed/big').condition).toBe('sound');
});

test('a key that is configured and cannot be had ends the scrubber’s tick as an error, whatever it meets', async () => {
  const fleet = await encrypted();
  await fleet.client.put('open/x', secret);
  delete fleet.env.FLEET_KEY;
  expect(await fleet.tick('scrubber')).toMatchObject({ outcome: 'error', succeeded: 1, failed: 0 });
});

test('after a rotation the new key encrypts, and what was put before is read with the old one', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/old', secret);
  fleet.env.NEW_KEY = randomBytes(32).toString('base64');
  await rotated(fleet, { rawKeyEnv: 'NEW_KEY', decryptOnly: [{ rawKeyEnv: 'FLEET_KEY' }] });
  fleet.clock.advance(60_000);
  await fleet.client.put('sealed/new', secret);
  expect(fleet.object('sealed/new').encryption).toMatchObject({ keyId: 'env:NEW_KEY' });
  await fleet.tick('replicator');
  expect(await fleet.tick('scrubber')).toMatchObject({ outcome: 'success', succeeded: 4 });
  expect(await textOf(fleet, 'sealed/old')).toBe(secret);
  expect(await textOf(fleet, 'sealed/new')).toBe(secret);
});

test('a record whose key the file does not list is not read with another', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', secret);
  const object = fleet.object('sealed/x');
  const encryption = { ...object.encryption!, keyId: 'env:GONE' };
  fleet.store.apply([{ kind: 'object', put: { ...object, rev: object.rev + 1, encryption }, expect: object }]);
  await expect(textOf(fleet, 'sealed/x')).rejects.toMatchObject({
    kind: 'no-key',
    message: 'Cannot decrypt "sealed/x": the fleet file lists no key "env:GONE"',
  });
});

test('a put under an encrypting policy without its key is refused, and stores nothing [encrypted-before-leaving]', async () => {
  const fleet = await encrypted();
  delete fleet.env.FLEET_KEY;
  await expect(fleet.newClient().put('sealed/x', secret)).rejects.toMatchObject({
    kind: 'no-key',
    message: expect.stringContaining('FLEET_KEY'),
  });
  expect(fleet.keysOn('a')).toEqual([]);
  expect(fleet.queue()).toEqual([]);
});

test('the scrubber verifies stored bytes and plaintext in one read', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', secret);
  await fleet.tick('replicator');
  const reads: unknown[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port !== 'store' && method === 'get') reads.push([port, args[0]]);
  };
  expect(await fleet.tick('scrubber')).toMatchObject({ succeeded: 2, failed: 0 });
  expect(reads).toHaveLength(2);
});

test('with the key service down the scrubber verifies the stored bytes and quarantines nothing [scrubber-plaintext]', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', secret);
  await fleet.tick('replicator');
  const { runTick } = await import('../../lib/tick/run-tick.ts');
  const { scrubber } = await import('../../lib/workers/scrubber/scrubber.ts');
  const keyring = await fleet.deps.openKeyring!({ rawKeyEnv: 'FLEET_KEY' });
  const down = {
    ...keyring,
    decrypt(): never {
      throw new KeyringError('Cannot decrypt: the key service does not answer');
    },
  };
  const report = await runTick({ ...fleet.deps, openKeyring: async () => down }, scrubber, {
    deadline: fleet.clock.now() + 300_000,
  });
  expect(report).toMatchObject({ failed: 2, reasons: { 'plaintext-unreadable': 2 } });
  expect(Object.keys(fleet.object('sealed/x').copies)).toEqual(['a', 'b']);
  expect(fleet.queue()).toEqual([]);
});
