import { expect, test } from 'vitest';
import { doctor } from '../../lib/operations/doctor.ts';
import { createTestFleet } from '../support/fleet.ts';
import { importOf } from '../support/passes.ts';

test('doctor says that a backend keeps no tags, and how many parts an upload has there at most', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const usual = { ...fleet.backends.a!.capabilities, tags: true };
  const findings = await doctor({
    ...fleet.deps,
    findCapabilities: async ({ name }) => (name === 'b' ? { ...usual, tags: false, maxParts: 1000 } : usual),
  });
  const sentencesOn = (name: string) =>
    findings.filter(({ subject, level }) => subject === name && level === 'warning').map(({ sentence }) => sentence);
  expect(sentencesOn('b').join()).toContain('object tags (none are kept there');
  expect(sentencesOn('b').join()).toContain('at most 1000 parts in one upload');
  expect(sentencesOn('a').join()).not.toMatch(/object tags|parts in one upload/);
});

test('doctor counts what was imported under a policy that encrypts what is put, and nothing else', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: { default: { factor: 1 }, secret: { prefix: 'secret/', factor: 2, encrypt: true } },
    encryption: { rawKeyEnv: 'KEY' },
    env: { KEY: Buffer.alloc(32, 7).toString('base64') },
  });
  for (const key of ['secret/1', 'secret/2', 'open/1']) fleet.backends.a!.putNow(key, Buffer.from(key));
  const told = async () => {
    const findCapabilities = async () => fleet.backends.a!.capabilities;
    const findings = await doctor({ ...fleet.deps, findCapabilities });
    return findings.filter(({ subject }) => subject === 'objects').map(({ level, sentence }) => [level, sentence]);
  };
  await fleet.client.put('secret/3', 'put');
  expect(await told()).toEqual([]);
  await fleet.tick('reconciler', importOf('a'));
  expect(await told()).toEqual([
    ['warning', expect.stringMatching(/^2 of policy "secret".* neither they nor their copies are encrypted/)],
  ]);
  await fleet.client.put('secret/1', 'put again');
  expect(await told()).toEqual([['warning', expect.stringMatching(/^1 of policy "secret"/)]]);
});
