import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { ClientProcess } from './actors.ts';
import type { ChaosDeps } from './deps.ts';
import { rotatedFile, withoutKey } from './fleet.ts';

/** Operators who replace the key that encrypts, and remove those that nothing needs any more. */
export interface Rotations {
  /** The keys that every fleet file lists from now on. */
  encryption(): Pick<FleetFile, 'encryption'>;
  rotate(): void;
  /** Before each step: goes on with a rotation that overtakes a put. */
  watch(): void;
}

export interface RotationsDeps extends ChaosDeps {
  /** A fleet file without the backend that operators have taken out of it. */
  asItIsNow(file: FleetFile): FleetFile;
}

const minuteMs = 60_000;
/** A key may be removed this long after it encrypted last. */
const retiredMs = 20 * minuteMs;

/**
 * A put that sleeps while its key leaves the file: the key is new, so that nothing but this put needs it. `replacing` the key is
 * being put in force · `putting` the put is under way for some steps more · `retiring` it sleeps, and its key is replaced, until
 * that may be removed.
 */
type Overtaking =
  | { readonly phase: 'replacing' }
  | { readonly phase: 'putting'; readonly process: ClientProcess; readonly steps: number }
  | { readonly phase: 'retiring'; readonly keyId: string; readonly until: number };

export function createRotations(deps: RotationsDeps): Rotations {
  const { world, faults, plan, actors, surroundings, random, asItIsNow } = deps;
  let known: Pick<FleetFile, 'encryption'> = {};
  let minted = 1;
  let overtaking: Overtaking | undefined;

  /** What the file in force says, once nobody is about to change it. */
  function encryption(): Pick<FleetFile, 'encryption'> {
    if (plan.file.encryption !== undefined && !actors.areOperatorsBusy()) {
      const inForce = surroundings.fileInForce().encryption;
      if (inForce !== undefined) known = { encryption: inForce };
    }
    return known;
  }

  function replace(): void {
    faults.count('encryption key rotated');
    minted += 1;
    const file = rotatedFile({ ...plan.file, ...encryption() }, `KEY_${minted}`);
    known = { encryption: file.encryption! };
    actors.apply(asItIsNow(file));
  }

  /** To be refused while anything names it. */
  function remove(keyId: string): void {
    faults.count('encryption key removed');
    actors.apply(asItIsNow(withoutKey({ ...plan.file, ...encryption() }, keyId)));
  }

  function encrypts(key: string): boolean {
    const { wide, default: usual } = plan.file.policies;
    return key.startsWith(wide!.prefix ?? '') ? wide!.encrypt === true : usual!.encrypt === true;
  }

  function beginPut(): Overtaking | undefined {
    const keys = plan.keys.filter(encrypts);
    if (keys.length === 0) return undefined;
    const process = actors.startClient();
    actors.put(process, random.pick(keys), { timeoutMs: 240 * minuteMs });
    return { phase: 'putting', process, steps: random.below(14) };
  }

  function goOnPutting({ process, steps }: Extract<Overtaking, { phase: 'putting' }>): Overtaking | undefined {
    if (process.actor.state !== 'running' || process.busy.size === 0) return undefined;
    if (steps > 0) return { phase: 'putting', process, steps: steps - 1 };
    faults.count('client frozen');
    const keyId = encryption().encryption!.rawKeyEnv!;
    world.freeze(process.actor, random.between(30 * minuteMs, 90 * minuteMs));
    replace();
    return { phase: 'retiring', keyId, until: 0 };
  }

  function retire({ keyId, until }: Extract<Overtaking, { phase: 'retiring' }>): Overtaking | undefined {
    if (until === 0) return { phase: 'retiring', keyId, until: world.now + retiredMs + minuteMs };
    if (world.now < until) {
      world.pass(until - world.now);
      return { phase: 'retiring', keyId, until };
    }
    remove(keyId);
    return undefined;
  }

  return {
    encryption,
    rotate() {
      if (plan.file.encryption === undefined || overtaking !== undefined) return;
      const { decryptOnly = [] } = encryption().encryption ?? {};
      const [removes, replaces] = [faults.isOn('encryption key removed'), faults.isOn('encryption key rotated')];
      if (removes && replaces && !actors.areOperatorsBusy() && random.chance(0.4)) {
        replace();
        overtaking = { phase: 'replacing' };
      } else if (removes && decryptOnly.length > 0 && random.chance(0.6)) {
        const key = random.pick(decryptOnly) as { readonly rawKeyEnv: string };
        remove(key.rawKeyEnv);
      } else if (replaces) replace();
    },
    watch() {
      if (overtaking === undefined) return;
      if (overtaking.phase === 'putting') overtaking = goOnPutting(overtaking);
      // An operator of any kind is waited for.
      else if (actors.areOperatorsBusy()) return;
      else overtaking = overtaking.phase === 'replacing' ? beginPut() : retire(overtaking);
    },
  };
}
