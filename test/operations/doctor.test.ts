import { expect, test } from 'vitest';
import { doctor } from '../../lib/operations/doctor.ts';
import { createTestFleet } from '../support/fleet.ts';

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
