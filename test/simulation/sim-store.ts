import type { BreakerState } from '../../lib/base/health.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { Lease } from '../../lib/store/model.ts';
import type { Change, ControlPartition, RowEnd, Store, StoreError, TransactAnswer } from '../../lib/store/port.ts';
import type { MemoryStore } from '../../lib/testing/store/memory-store.ts';
import type { Faults } from './faults.ts';
import type { Observer } from './observer.ts';
import type { Actor } from './operation.ts';
import type { World } from './world.ts';

const breakerRow = 'breaker/';

/** The store as one process sees it: every call waits for the scheduler, and may go wrong. */
export function createSimStore(
  world: World,
  faults: Faults,
  observer: Observer,
  memory: MemoryStore,
  actor: Actor,
): Store {
  function ask<T>(kind: 'read' | 'write', operation: string, subject: string, effect: () => Promise<T>): Promise<T> {
    actor.calls.set(kind, (actor.calls.get(kind) ?? 0) + 1);
    return world.ask<T>(actor, { port: 'store', operation, subject, effect, fate: () => faults.storeFate(kind) });
  }

  /** What the table holds of a lease right after an operation on it, which has happened once it is called. */
  const withRow = async <T>(answer: Promise<T>, { worker, part }: Pick<Lease, 'worker' | 'part'>) => {
    const [done, rows] = await Promise.all([answer, memory.leases(worker)]);
    return { answer: done, row: rows.find((lease) => lease.part === part)! };
  };

  return {
    // Asked for once per process and never again: not worth a step.
    identity: () => memory.identity(),
    transact: (changes, token) =>
      ask('write', 'transact', describeChanges(changes), async () => {
        if (faults.conflicts()) return conflict(changes);
        const answer = await memory.transact(changes, token);
        if (answer.outcome === 'done')
          for (const change of changes)
            if (change.kind === 'row' && change.put.sk === 'config')
              observer.fileWritten(change.put.data.file as FleetFile);
        return answer;
      }),
    write: (change) => {
      const place = readingPlaceOf(change);
      const answered = ask('write', 'write', describeChanges([change]), async () => {
        const sentAt = world.current?.issuedAt ?? world.now;
        const answer = await memory.write(change);
        if (answer.outcome === 'done' && place !== undefined && change.kind === 'row')
          observer.progressWritten(actor, ...place, change.put.data);
        if (answer.outcome === 'done' && change.kind === 'row' && change.put.sk.startsWith(breakerRow)) {
          const state = change.put.data as unknown as BreakerState;
          observer.breakerWritten(actor, change.put.sk.slice(breakerRow.length), state, sentAt);
        }
        return answer;
      });
      if (place !== undefined) answered.catch(() => observer.progressLost(actor));
      return answered;
    },
    objects: (keys) => ask('read', 'objects', keys.join(' '), () => memory.objects(keys)),
    queueItems: (ids) => ask('read', 'items', ids.join(' '), () => memory.queueItems(ids)),
    control: async (pk) => {
      const all = () => memory.control(pk);
      const isTorn = faults.strikes('torn query', 8);
      const first = await ask('read', 'control', pk, all);
      const rest = { port: 'store', operation: 'control, the rest', subject: pk, effect: all } as const;
      const read = isTorn ? joined(first, await world.ask(actor, rest)) : first;
      observer.fleetRead(actor, openBreakers(read));
      const place = readingPlace(pk);
      if (place !== undefined) observer.progressRead(actor, ...place, read.rows[0]?.data);
      return read;
    },
    everyEntry: (after, limit) => ask('read', 'scan', 'objects', () => memory.everyEntry(after, limit)),
    everyQueueItem: (after, limit) => ask('read', 'scan', 'queue', () => memory.everyQueueItem(after, limit)),
    byPlacement: (label, after, limit) =>
      ask('read', 'by-placement', label, () => memory.byPlacement(label, after, limit)),
    byKey: (shard, after, limit) => ask('read', 'by-key', shard, () => memory.byKey(shard, after, limit)),
    queuedOf: (lane, key, after) => ask('read', 'queued-of', lane, () => memory.queuedOf(lane, key, after)),
    due: (lane, before, limit, after) => ask('read', 'due', lane, () => memory.due(lane, before, limit, after)),
    acquireLease: (request) =>
      ask('write', 'acquire-lease', `${request.worker} ${request.part}`, async () => {
        const { answer, row } = await withRow(memory.acquireLease(request), request);
        observer.leaseAsked(actor, request.holder, answer, row);
        return answer;
      }),
    updateLease: (lease, change) =>
      ask('write', 'update-lease', `${lease.worker} ${lease.part}`, async () => {
        const { answer, row } = await withRow(memory.updateLease(lease, change), lease);
        observer.leaseUpdated(actor, lease, answer, row);
        if (answer && lease.worker === 'scrubber') observer.scrubSaved(row);
        return answer;
      }),
    leases: (worker) => ask('read', 'leases', worker, () => memory.leases(worker)),
    addUsage: async (hour, usage, token) => {
      try {
        await ask('write', 'add-usage', Object.keys(usage).join(' '), () => {
          observer.usageAdded(actor, hour, usage, token);
          return memory.addUsage(hour, usage, token);
        });
      } catch (error) {
        if ((error as StoreError).kind === 'unanswered') observer.usageUnanswered(actor);
        else observer.usageRefused(actor);
        throw error;
      }
    },
    usage: (hours, backends) => ask('read', 'usage', backends.join(' '), () => memory.usage(hours, backends)),
  };
}

/** Backend and storage key whose reading a partition is about. */
function readingPlace(pk: string): [backend: string, storageKey: string] | undefined {
  const [, backend, storageKey] = /^reading\/([^/]+)\/(.*)$/s.exec(pk) ?? [];
  return backend === undefined ? undefined : [backend, storageKey!];
}

function readingPlaceOf(change: Change | RowEnd): [backend: string, storageKey: string] | undefined {
  if (change.kind === 'row') return readingPlace(change.put.pk);
  return change.kind === 'row-end' ? readingPlace(change.pk) : undefined;
}

function openBreakers({ rows }: ControlPartition): Set<string> {
  const open = rows.filter(({ sk, data }) => sk.startsWith(breakerRow) && data.openedAt !== undefined);
  return new Set(open.map(({ sk }) => sk.slice(breakerRow.length)));
}

/** A query is no snapshot: what others write while it is answered may be seen in its second half and not in its first. */
function joined(first: ControlPartition, second: ControlPartition): ControlPartition {
  const names = [...first.counters, ...first.rows].map(({ sk }) => sk).sort();
  const middle = names[names.length >> 1] ?? '';
  const halves = <T extends { readonly sk: string }>(before: readonly T[], after: readonly T[]) => [
    ...before.filter(({ sk }) => sk < middle),
    ...after.filter(({ sk }) => sk >= middle),
  ];
  return { counters: halves(first.counters, second.counters), rows: halves(first.rows, second.rows) };
}

function conflict(changes: readonly Change[]): TransactAnswer {
  return { outcome: 'refused', refusals: changes.map((_, i) => (i === 0 ? { cause: 'conflict' } : null)) };
}

/** One word per change, for the trace. */
export function describeChanges(changes: readonly Change[]): string {
  return changes
    .map((change) => {
      switch (change.kind) {
        case 'object': {
          const { key, kind, rev } = change.put;
          return `${key}@${rev}${kind === 'tombstone' ? '†' : `=${Object.keys(change.put.copies).join('+')}`}`;
        }
        case 'queue':
          return `${change.put.state}:${change.put.id}`;
        case 'queue-end':
          return `end:${change.id}`;
        case 'row':
          return change.put.sk;
        default:
          return '';
      }
    })
    .filter((word) => word !== '')
    .join(' ');
}
