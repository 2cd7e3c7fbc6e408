import { expect, test } from 'vitest';
import { createTestFleet } from '../support/fleet.ts';
import { inMonth } from '../support/usage.ts';

test('what a put spends that was under way when its client was closed is written down when it is closed again', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  let goOn = () => {};
  let hasBegun = false;
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'put') return;
    hasBegun = true;
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
  };
  const client = fleet.newClient();
  const put = client.put('k', 'v'.repeat(100));
  while (!hasBegun) await new Promise(setImmediate);
  await client.close();
  goOn();
  await put;
  await client.close();
  const month = new Date(fleet.clock.now()).toISOString().slice(0, 7);
  expect((await fleet.store.usage(inMonth(month), ['a'])).get('a')).toMatchObject({ ingressBytes: 100 });
  await expect(client.put('k', 'v')).rejects.toThrow('The client was closed');
});
