import { expect, test } from 'vitest';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import { doctor } from '../../lib/operations/doctor.ts';
import { createTestFleet } from '../support/fleet.ts';

const refused: readonly (readonly [Capabilities, string])[] = [
  [{ keepsMetadata: false }, 'does not keep user metadata as it was sent: the marks that say whose its copies are'],
  [{ keepsKeys: false }, 'lists keys otherwise than they were written'],
  [{ pagesWhole: false }, 'does not list each key once, page by page'],
  [{ maxParts: 0 }, 'completes no upload in parts: set its "maxObjectBytes" to 5242880 or less'],
];

test.each(refused)('a backend with %j is refused by apply, and told of by doctor', async (can, sentence) => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  fleet.whileFindingCapabilities = async (name) => {
    if (name === 'b') Object.assign(fleet.backends.b!.capabilities, can);
  };
  const both = { backends: ['a', 'b'], policies: { default: { factor: 1 } } };
  await expect(fleet.apply(both)).rejects.toThrow(`Backend "b" ${sentence}`);
  const findCapabilities = async () => ({ ...fleet.backends.a!.capabilities, ...can });
  const findings = await doctor({ ...fleet.deps, findCapabilities });
  const problems = findings.filter(({ level }) => level === 'problem').map((finding) => finding.sentence);
  expect(problems).toEqual([expect.stringContaining(`Backend "a" ${sentence}`)]);
});

test('a backend that completes no upload in parts holds objects that are written at once', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  fleet.whileFindingCapabilities = async () => {
    Object.assign(fleet.backends.b!.capabilities, { maxParts: 0 });
  };
  const small = { name: 'b', maxObjectBytes: 5_242_880 };
  await fleet.apply({ backends: ['a', small], policies: { default: { factor: 2 } } });
  await fleet.client.put('k', 'content');
  await fleet.settle();
  expect([...fleet.backends.b!.contents().keys()].some((key) => key.startsWith('k!'))).toBe(true);
});

test('a bucket whose owner object has lost its user metadata is told from one of another fleet', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  const { bytes } = fleet.backends.a!.contents().get(ownerKey)!;
  fleet.backends.a!.putNow(ownerKey, bytes, { metadata: {} });
  const again = fleet.apply({ backends: ['a'], policies: { default: { factor: 1 } } });
  await expect(again).rejects.toThrow('has an owner object without its user metadata: the server has lost it');
});
