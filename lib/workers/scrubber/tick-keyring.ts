import type { Tick } from '../../tick/tick.ts';
import type { Keyring } from '../../transfer/keyring.ts';

/** What this file asks of a tick. */
export type TickKeyringTick = Pick<Tick, 'deps' | 'config' | 'view' | 'problem'>;

/**
 * The keyring of a fleet that has one, for its scrubber: null where the file names no key, or this process must not have it.
 * A key that is configured and cannot be had ends the tick as an error: else plaintext would go unverified for ever, and
 * every copy count as good. The stored bytes are verified all the same.
 */
export async function keyringOf(tick: TickKeyringTick): Promise<Keyring | null> {
  const { encryption } = tick.config;
  if (encryption === undefined || tick.deps.openKeyring === undefined) return null;
  try {
    const keyring = await tick.deps.openKeyring(encryption, tick.view.config?.keyChecks);
    for (const problem of keyring.problems) tick.problem(problem);
    return keyring;
  } catch (error) {
    tick.problem(`The keyring cannot be loaded, so plaintext is not verified: ${(error as Error).message}`);
    return null;
  }
}
