import { BackendError, type ListPage } from '../../lib/fleet/backend.ts';
import type { MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import type { Faults } from './faults.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

export interface ListingDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly random: Random;
  readonly memory: MemoryBackend;
}

/** A page of a listing that is not what the bucket holds; null when nothing goes wrong. Throws when it breaks off. */
export function listedBadly(
  { world, faults, random, memory }: ListingDeps,
  options: Parameters<MemoryBackend['listNow']>[0] & object,
): ListPage | null {
  if (options.from !== undefined && faults.strikes('listing broken off', 40)) {
    const kind = random.pick(['unavailable', 'timeout', 'throttled', 'rejected'] as const);
    throw new BackendError(kind, memory.name, `Backend "${memory.name}" breaks its listing off (simulated)`);
  }
  if (options.from !== undefined && 'token' in options.from && faults.strikes('listing token forgotten', 100))
    throw new BackendError('rejected', memory.name, `Backend "${memory.name}" knows the token no more (simulated)`);
  if (options.from !== undefined && faults.strikes('listing goes in circles', 20)) {
    const page = memory.listNow(options);
    return { ...page, next: options.from };
  }
  if (faults.strikes('empty listing', 20)) return { items: [] };
  if (!faults.strikes('listing lag', 25)) return null;
  const page = memory.listNow(options);
  const seenUntil = world.now - random.spread(1_000, 300_000);
  return { ...page, items: page.items.filter(({ lastModified }) => lastModified <= seenUntil) };
}
