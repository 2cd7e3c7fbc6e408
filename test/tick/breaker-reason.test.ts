import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet } from '../support/fleet.ts';

test('an open breaker says what failed last, in at most 300 characters, until it closes', async () => {
  const fleet = await createTestFleet({ env: { BREAKER_FAILURES: '2', BREAKER_OPEN_SECONDS: '60' } });
  const state = () => fleet.store.rowAt('fleet', 'breaker/b')?.data;
  let message = 'Cannot reach "b": no answer';
  let isCut = true;
  fleet.before = ({ port }) => {
    if (isCut && port === 'b') throw new BackendError('unreachable', 'b', message);
  };
  await fleet.tick('replicator');
  expect(state()).toEqual({ failures: 1 });
  await fleet.tick('replicator');
  expect(state()).toMatchObject({ failures: 2, reason: message });
  message = `Cannot reach "b": ${'x'.repeat(1_000)}`;
  fleet.clock.advance(120_000);
  await fleet.tick('replicator');
  expect(state()).toMatchObject({ failures: 3, reason: message.slice(0, 300) });
  isCut = false;
  fleet.clock.advance(120_000);
  await fleet.tick('replicator');
  expect(state()).toEqual({ failures: 0 });
});
