import type { QueueItem } from '../../lib/store/model.ts';
import type { ChaosDeps } from './deps.ts';

/**
 * Puts an item into the queue that was there once: an operator restores that table alone. Its bytes may be recorded again.
 */
export function restoreQueueItem(
  { world, oracle, surroundings }: Pick<ChaosDeps, 'world' | 'oracle' | 'surroundings'>,
  {
    backend,
    storageKey,
    key,
    generation,
    sizeBytes,
  }: Pick<QueueItem, 'backend' | 'storageKey' | 'key' | 'generation' | 'sizeBytes'>,
): void {
  const id = `${backend}/${storageKey}`;
  oracle.restored(id);
  const state = 'cleanup';
  const [createdAt, dueAt] = [world.now, world.now + 300_000];
  const add = { objects: 1, bytes: sizeBytes };
  const isGated = surroundings.fileInForce().backends.some((b) => b.name === backend && b.quotaBytes > 0);
  const rows = [`queue/${state}/${backend}#0`, `used/${backend}#0`, ...(isGated ? [`quota/${backend}`] : [])];
  const put: QueueItem = {
    id,
    state,
    backend,
    storageKey,
    key,
    generation,
    sizeBytes,
    createdAt,
    dueAt,
    cause: 'replaced',
    reason: 'old',
    attempts: 0,
  };
  surroundings.store.apply([
    { kind: 'queue', put, expect: 'absent' },
    ...rows.map((sk, i) => ({ kind: 'add' as const, pk: 'fleet', sk, add: i === 0 ? add : { ...add, objects: 0 } })),
  ]);
}
