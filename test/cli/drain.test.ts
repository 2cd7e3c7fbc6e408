import { afterAll, beforeAll, expect, test } from 'vitest';
import { fleetText } from '../../lib/cli/fleet-source.ts';
import { parseFleetText } from '../../lib/config/parse-fleet-file.ts';
import { isWhole } from '../support/extent.ts';
import { type CliLab, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 3 });
  await lab.json(['init']);
});
afterAll(() => lab.close());

test('drain moves everything off a backend, says how far it has come, and undrain ends it', async () => {
  await lab.holdfast.put('k', 'content');
  const dearTick = await lab.run(['tick', 'replicator', '--max-usd', '0', '--json']);
  expect([dearTick.code, dearTick.json()]).toMatchObject([1, { kind: 'over-max-usd' }]);
  await lab.json(['tick', 'replicator', '--max-usd', '1']);

  const tooDear = await lab.run(['drain', 'local-1', '--max-usd', '0', '--json']);
  expect([tooDear.code, tooDear.json()]).toMatchObject([1, { kind: 'over-max-usd' }]);
  const begun = await lab.json(['drain', 'local-1', '--max-usd', '1']);
  await lab.json(['tick', 'replicator']);
  await lab.json(['tick', 'over-replication-cleaner']);
  const moved = await lab.json<{ copies: { backend: string }[] }>(['locate', 'k']);
  const waiting = await lab.json(['drain', 'local-1']);
  const ended = await lab.json(['undrain', 'local-1']);
  const again = await lab.json(['undrain', 'local-1']);

  expect(begun).toMatchObject({ backend: 'local-1', outcome: 'draining', copies: { objects: 1 } });
  expect(moved.copies.map(({ backend }) => backend)).toEqual(['local-2', 'local-3']);
  expect(waiting).toMatchObject({ outcome: 'draining', copies: { objects: 0 }, queue: { cleanup: { objects: 1 } } });
  expect([ended.outcome, again.outcome]).toEqual(['undrained', 'not-draining']);
});

test('an unknown backend is a mistake on the command line, and forgetting one in use is refused', async () => {
  const unknown = await lab.run(['drain', 'nowhere']);
  const inUse = await lab.run(['forget', 'local-2']);

  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('there are local-1, local-2, local-3')]);
  expect([inUse.code, inUse.stderr]).toEqual([1, expect.stringContaining('it is in the fleet file')]);
});

/** The fleet file in force, without one of its backends. */
function without(name: string): string {
  const file = parseFleetText(fleetText(lab.stack.env.HOLDFAST_FLEET!));
  return JSON.stringify({ ...file, backends: file.backends.filter((backend) => backend.name !== name) });
}

test('a backend that holds something leaves the fleet file only with --park, and status says so', async () => {
  await lab.holdfast.put('parked', 'content');
  const env = { HOLDFAST_FLEET: without('local-1') };
  const refused = await lab.run(['apply'], { env });
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('drain it first, or `apply --park`')]);
  if (!isWhole) return;
  const parked = await lab.json(['apply', '--park'], { env });
  expect(parked.parked).toMatchObject([{ backend: 'local-1', queueItems: expect.any(Number) }]);
  expect((await lab.run(['status'])).stdout).toMatch(/local-1 +PARKED/);
  await lab.json(['apply']);
  expect((await lab.run(['status'])).stdout).not.toContain('PARKED');
});

test('a drain after which too few backends would remain is refused', async () => {
  await lab.json(['drain', 'local-2']);
  const refused = await lab.run(['drain', 'local-3']);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('1 backend would remain, fewer than')]);
  await lab.json(['undrain', 'local-2']);
});

test('a drain that will not find room says so, in words and in its document', async () => {
  const file = parseFleetText(fleetText(lab.stack.env.HOLDFAST_FLEET!));
  const backends = file.backends.map((one) => (one.name === 'local-1' ? one : { ...one, quotaBytes: 1 }));
  await lab.holdfast.put('no room', 'for this anywhere else');
  await lab.json(['apply'], { env: { HOLDFAST_FLEET: JSON.stringify({ ...file, backends }) } });
  const { warnings } = await lab.json<{ warnings: unknown[] }>(['drain', 'local-1']);
  expect(warnings).toContainEqual(expect.objectContaining({ warning: 'no-room' }));
  expect((await lab.run(['drain', 'local-1'])).stdout).toMatch(/Warning: .* have room for .* must go there/);
  await lab.json(['undrain', 'local-1']);
  await lab.json(['apply']);
});
