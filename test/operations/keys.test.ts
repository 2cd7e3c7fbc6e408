import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import type { EncryptionConfig } from '../../lib/config/encryption.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type Hook, type TestFleet } from '../support/fleet.ts';

const policies = { default: { factor: 1 }, sealed: { prefix: 'sealed/', factor: 1, encrypt: true } };
const backends = ['a', 'b'];
const [old, next] = [{ rawKeyEnv: 'OLD' }, { rawKeyEnv: 'NEW' }];
const minuteMs = 60_000;

async function encrypted(): Promise<TestFleet> {
  const env = { OLD: randomBytes(32).toString('base64'), NEW: randomBytes(32).toString('base64') };
  return createTestFleet({ backends, policies, encryption: old as Record<string, string>, env });
}

const apply = (fleet: TestFleet, encryption: EncryptionConfig | undefined, others: object = policies) =>
  fleet.apply({
    backends,
    policies: others as Record<string, unknown>,
    ...(encryption && { encryption: encryption as Record<string, string> }),
  });

const refusal = (fleet: TestFleet, encryption: EncryptionConfig | undefined, others?: object) =>
  apply(fleet, encryption, others).then(
    () => 'applied',
    (error: Error) => error.message,
  );

async function textOf(fleet: TestFleet, key: string): Promise<string> {
  return (await collect((await fleet.newClient().get(key))!.body)).toString();
}

/** Whether a call sends content of the policy that encrypts to the first backend. */
function isPutOfSealed({ port, method, args }: Parameters<Hook>[0]): boolean {
  return port === 'a' && method === 'put' && (args[0] as { storageKey: string }).storageKey.startsWith('sealed/');
}

/** What was put reads as it was, and is encrypted under the key that took over. */
async function expectUnderNewKey(fleet: TestFleet): Promise<void> {
  expect(fleet.object('sealed/x').encryption).toMatchObject({ keyId: 'env:NEW' });
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
}

test('a key that encrypts what is put cannot be removed, nor replaced in one step', async () => {
  const fleet = await encrypted();
  expect(await refusal(fleet, next)).toContain(
    'Encryption key "env:OLD" cannot be removed: content is encrypted with it now',
  );
  expect(await refusal(fleet, undefined, { default: { factor: 1 } })).toContain('content is encrypted with it now');
});

test('a key that records name cannot be removed, and the sentence says how many [keys-stay-listed]', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', 'content');
  await fleet.client.put('sealed/y', 'content');
  await apply(fleet, { ...next, decryptOnly: [old] });
  fleet.clock.advance(60 * minuteMs);
  expect(await refusal(fleet, next)).toMatch(/"env:OLD" cannot be removed: 2 objects or queue items \(\d+ bytes\)/);
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
  for (const key of ['sealed/x', 'sealed/y']) await fleet.client.put(key, 'again');
  // The replaced bytes wait in the queue: until they are gone they may be wanted back.
  expect(await refusal(fleet, next)).toMatch(/2 objects or queue items/);
  await fleet.settle(['cleanup-queue'], 20);
  expect(await refusal(fleet, next)).toBe('applied');
  expect(await textOf(fleet, 'sealed/x')).toBe('again');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a key that a put under way names cannot be removed', async () => {
  const fleet = await encrypted();
  await apply(fleet, { ...old, decryptOnly: [next] });
  let message = '';
  fleet.before = async (call) => {
    if (!isPutOfSealed(call)) return;
    fleet.before = undefined;
    await apply(fleet, { ...next, decryptOnly: [old] });
    fleet.clock.advance(60 * minuteMs);
    message = await refusal(fleet, next);
  };
  await fleet.client.put('sealed/x', 'content', { timeoutMs: 120 * minuteMs });
  expect(message).toMatch(/1 objects or queue items/);
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
});

test('a key that encrypted until a moment ago cannot be removed yet', async () => {
  const fleet = await encrypted();
  await apply(fleet, { ...next, decryptOnly: [old] });
  fleet.clock.advance(19 * minuteMs);
  expect(await refusal(fleet, next)).toContain('content was encrypted with it until');
  fleet.clock.advance(minuteMs);
  expect(await refusal(fleet, next)).toBe('applied');
});

/** An hour passes in which the key of a put is rotated out of the file. */
async function rotateOut(fleet: TestFleet): Promise<void> {
  await apply(fleet, { ...next, decryptOnly: [old] });
  fleet.clock.advance(60 * minuteMs);
  expect(await refusal(fleet, next)).toBe('applied');
}

/** A put that has hours. */
async function putAtLeisure(fleet: TestFleet): Promise<void> {
  await fleet.newClient().put('sealed/x', 'content', { timeoutMs: 240 * minuteMs });
}

test('a put frozen after its last look at the fleet, while its key is rotated out of the file, names nothing under it', async () => {
  const fleet = await encrypted();
  fleet.before = async ({ port, method, args }) => {
    if (port !== 'a' || !['get', 'head'].includes(method) || args[0] !== '.holdfast/owner') return;
    fleet.before = undefined;
    await rotateOut(fleet);
  };
  await putAtLeisure(fleet);
  await expectUnderNewKey(fleet);
  expect(fleet.queue()).toEqual([]);
});

test('a put whose request was on its way while its key was rotated out is sealed anew, and nothing names the key', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', 'older');
  await fleet.client.delete('sealed/x');
  await fleet.settle(['cleanup-queue'], 20);
  fleet.before = async ({ port, method, args }) => {
    if (port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('"intent"')) return;
    fleet.before = undefined;
    await rotateOut(fleet);
  };
  await putAtLeisure(fleet);
  await expectUnderNewKey(fleet);
  fleet.clock.advance(120 * minuteMs);
  await fleet.settle(['pending-reaper', 'cleanup-queue'], 30);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('content that was sealed before policies ceased to encrypt is put as it is, not under a key that may leave', async () => {
  const fleet = await encrypted();
  const open = { default: { factor: 1 } };
  let isOver = false;
  fleet.before = async (call) => {
    // The first backend refuses; by the time the second is tried the fleet is another.
    if (!isPutOfSealed(call)) return;
    if (isOver) return;
    isOver = true;
    await apply(fleet, old, open);
    fleet.clock.advance(60 * minuteMs);
    throw new BackendError('unreachable', 'a', 'no answer');
  };
  await putAtLeisure(fleet);
  expect(fleet.object('sealed/x').encryption).toBeUndefined();
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
});

test('a put whose key is rotated while it is sealed uses the new one', async () => {
  const fleet = await encrypted();
  const content = Buffer.from('content');
  let isRotated = false;
  const open = async function* () {
    if (!isRotated) {
      isRotated = true;
      await apply(fleet, { ...next, decryptOnly: [old] });
      fleet.clock.advance(minuteMs);
    }
    yield content;
  };
  await fleet.client.put('sealed/x', { sizeBytes: content.length, open });
  await expectUnderNewKey(fleet);
  expect(fleet.queue()).toEqual([]);
});

test('another value under the name of a raw key is refused while something is encrypted with the first', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', 'content');
  const value = fleet.env.OLD!;
  fleet.env.OLD = randomBytes(32).toString('base64');
  expect(await refusal(fleet, old)).toContain('Encryption key "env:OLD" has another value');
  await expect(fleet.newClient().put('sealed/y', 'content')).rejects.toMatchObject({
    kind: 'no-key',
    message: expect.stringContaining('The key in OLD is not the one that the fleet file was applied with'),
  });
  expect(fleet.queue()).toEqual([]);
  fleet.env.OLD = value;
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
});

test('a deployment that rolls back keeps the key that objects were encrypted with meanwhile', async () => {
  const fleet = await encrypted();
  const change = (encryption: object) => ({ backends, policies, encryption: encryption as Record<string, string> });
  await fleet.apply(change({ ...next, decryptOnly: [old] }));
  fleet.clock.advance(minuteMs);
  await fleet.newClient().put('sealed/x', 'content');
  await fleet.apply(change(old), { park: 'rollback' });
  fleet.clock.advance(minuteMs);
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
  await fleet.newClient().put('sealed/y', 'content');
  expect(fleet.object('sealed/y').encryption).toMatchObject({ keyId: 'env:OLD' });
  expect(fleet.object('sealed/x').encryption).toMatchObject({ keyId: 'env:NEW' });
});

test('a fleet that encrypts no more keeps its keys to decrypt, and lets them go when nothing is left', async () => {
  const fleet = await encrypted();
  await fleet.client.put('sealed/x', 'content');
  const open = { default: { factor: 1 } };
  await apply(fleet, { decryptOnly: [old] }, open);
  fleet.clock.advance(60 * minuteMs);
  expect(await textOf(fleet, 'sealed/x')).toBe('content');
  expect(await refusal(fleet, undefined, open)).toContain('1 objects or queue items');
  await fleet.client.delete('sealed/x');
  await fleet.settle(['cleanup-queue'], 20);
  expect(await refusal(fleet, undefined, open)).toBe('applied');
});
