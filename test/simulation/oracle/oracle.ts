import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../../lib/store/model.ts';
import type { MemoryBackend } from '../../../lib/testing/backend/memory-backend.ts';
import type { MemorySnapshot } from '../../../lib/testing/store/memory-tables.ts';
import type { Faults } from '../faults.ts';
import type { Observer } from '../observer.ts';
import type { World } from '../world.ts';
import { createBreakersCheck } from './breakers.ts';
import { createBytesCheck, type Orphan } from './bytes.ts';
import { type CallsCheck, createCallsCheck } from './calls.ts';
import { createDeletesCheck } from './deletes.ts';
import { createDrainsCheck } from './drains.ts';
import { createKeysCheck } from './keys.ts';
import { createLeasesCheck } from './leases.ts';
import { createLedgerCheck, type LedgerRow } from './ledger.ts';
import { createListingsCheck, type ListingsCheck } from './listings.ts';
import { createPlacesCheck, type PlacesCheck } from './places.ts';
import { createPlainCheck } from './plain.ts';
import { createQuotasCheck } from './quotas.ts';
import { deleteGraceMsOf, factorOf, keyWithin, storageKeyOf } from './reading.ts';
import { createReadsCheck } from './reads.ts';
import type { Sight } from './sight.ts';
import { createUploadsCheck, type OpenUpload } from './uploads.ts';
import { createUsageCheck } from './usage.ts';
import { Violation } from './violation.ts';

/** Sends go on for 8 of the 10 minutes that a token lives: one that is on its way for longer may land unknown. */
const tokenSlackMs = 120_000;
/** How far clocks are apart. */
const skewMs = 10_000;

export interface OracleDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  readonly ledgerRows: () => readonly LedgerRow[];
  readonly snapshot: () => MemorySnapshot;
  /** Draining backends, and since when. */
  readonly drains: () => ReadonlyMap<string, number>;
  /** Failures in a row that open a breaker. */
  readonly breakerFailures: number;
  /** How old bytes must be before a sweep may enqueue for deletion them. */
  readonly minAgeMs: number;
  /** How late indexes may be. */
  readonly maxLagMs: number;
}

export interface Oracle extends Observer, Pick<ListingsCheck, 'passEnded'>, Pick<PlacesCheck, 'forgotten'> {
  readonly calls: CallsCheck;
  /** The mirror of the tables. */
  readonly objects: ReadonlyMap<string, Entry>;
  readonly queue: ReadonlyMap<string, QueueItem>;
  usedBytes(backend: string): number;
  /** A fleet file that may be in force from now on. */
  fleetApplied(file: FleetFile): void;
  /** Somebody else wrote, or removed, a file in one of the buckets. */
  externalClientActed(backend: string, key: string): void;
  /** Somebody else wrote over bytes of ours. */
  rewritten(backend: string, storageKey: string): void;
  /** Somebody wrote bytes with a mark of ours at a key that looks like ours. */
  forged(backend: string, storageKey: string): void;
  /** Whether anybody wrote such bytes in the name of an object. */
  hasForged(key: string): boolean;
  /** With imports on: files that are neither recorded nor remembered, in sentences. */
  unsettledFiles(): string[];
  /** Whether a file is still there that a delete left behind. */
  hasForsakenFiles(): boolean;
  /** An operator put an old item back into the queue: its bytes may be recorded. */
  restored(id: string): void;
  /** An operator asks for a drain. */
  drainAsked(backend: string, deletesImported: boolean): void;
  /** An operator was told that the drain which began at `since` is over. */
  undrained(backend: string, since: number): void;
  /** An operator was told that a drain is done. */
  drained(backend: string, since: number): void;
  report(violation: Violation): void;
  /** After every step: looks at what changed. The first violation, or null. */
  check(): Violation | null;
  /** Counts everything from nothing. */
  recount(): Violation | null;
  /** Copies of a record whose bytes are there as recorded. */
  goodCopies(entry: ObjectRecord): string[];
  /** Copies that a bucket hides under a delete marker. */
  hiddenCopies(entry: ObjectRecord): string[];
  orphans(): Orphan[];
  /** Places of ours where a bucket keeps older versions although nothing names them. */
  versionsLeft(): string[];
  openUploads(): Promise<OpenUpload[]>;
}

/**
 * Knows what must be so. It keeps its own mirror of the tables and reads the bytes itself; nothing here comes from the code
 * under test but types.
 */
export function createOracle({
  world,
  faults,
  backends,
  ledgerRows,
  snapshot,
  drains,
  minAgeMs,
  maxLagMs,
  breakerFailures,
}: OracleDeps): Oracle {
  const objects = new Map<string, Entry>();
  const queue = new Map<string, QueueItem>();
  const files: FleetFile[] = [];
  /** Backends that had a quota in every file so far. */
  let alwaysGated: ReadonlySet<string> = new Set();
  const violations: Violation[] = [];
  const dirty = new Set<string>();
  let isLedgerDirty = true;
  const report = (violation: Violation) => void violations.push(violation);
  const calls = createCallsCheck(() => world.step, report);
  const places = createPlacesCheck(world, report);
  const lowestFactor = (key: string) => Math.min(...files.map((file) => factorOf(file, key)));
  const lowestGraceMs = (key: string) => Math.min(...files.map((file) => deleteGraceMsOf(file, key)));
  const revived = new Set<string>();
  const mirror = { objects, queue, revived };
  const sight: Sight = { world, faults, backends, ...mirror, calls, places, lowestFactor, lowestGraceMs, report };
  const ledger = createLedgerCheck();
  const draining = createDrainsCheck(sight, drains);
  const plain = createPlainCheck(sight, draining);
  const bytes = createBytesCheck(sight, plain);
  const deletes = createDeletesCheck(sight, plain, minAgeMs);
  const quotas = createQuotasCheck(sight, files, ledger.usedBytes);
  const leases = createLeasesCheck(world, report);
  const reads = createReadsCheck(sight, { maxLagMs, goodCopies: bytes.goodCopies });
  const breakers = createBreakersCheck(
    { now: () => world.now, step: () => world.step, failures: breakerFailures },
    report,
  );
  const uploads = createUploadsCheck(sight);
  const listings = createListingsCheck(report);
  const keys = createKeysCheck(objects, report);
  const usage = createUsageCheck(world, files, report);

  function objectChanged(key: string, after: Entry | null): void {
    const before = objects.get(key) ?? null;
    quotas.objectChanging(before, after);
    ledger.add(before, -1);
    ledger.add(after, 1);
    isLedgerDirty = true;
    dirty.add(key);
    if (after === null) objects.delete(key);
    else objects.set(key, after);
    const isDelete =
      after?.kind === 'tombstone' && world.current !== null && calls.deleteBehind(key, world.current) !== undefined;
    if (before !== null && after !== null && before.generation === after.generation) sameGeneration(before, after);
    else if (after?.kind === 'tombstone' && !isDelete && plain.isGone(before))
      calls.generationChanged(key, before, after, world.current, null);
    else calls.generationChanged(key, before, after, world.current, fileOf(after));
    const isBack = calls.undeleteOf(after, world.current) !== undefined && before?.generation !== after?.generation;
    plain.recordChanged(before, after, isDelete ? 'deleted' : isBack ? 'brought back' : 'otherwise');
    deletes.recordChanged(before);
    places.recordChanged(before, after);
    bytes.recordChanged(before, after);
    keys.recordChanged(after);
    if (after?.kind !== 'object') return;
    const had = before?.kind === 'object' ? before.copies : {};
    for (const [name, copyId] of Object.entries(after.copies))
      if (had[name] !== copyId) {
        draining.named(name, `a copy of "${key}" there`);
        reads.copyNamed(name, storageKeyOf(key, copyId));
      }
  }

  /** The file that an entry was made of, if one was: what somebody brought back was an object before. */
  function fileOf(after: Entry | null) {
    if (after === null || calls.undeleteOf(after, world.current) !== undefined) return undefined;
    return plain.contentOf(after);
  }

  /** A record changes step by step, and only in what workers may change. */
  function sameGeneration(before: Entry, after: Entry): void {
    const wrong = (message: string) => report(new Violation('one door', message, after.key));
    if (after.rev !== before.rev + 1) wrong(`"${after.key}" went from rev ${before.rev} to ${after.rev}`);
    if (before.kind !== after.kind)
      wrong(`"${after.key}" became a ${after.kind} under the generation of a ${before.kind}`);
    if (before.kind !== 'object' || after.kind !== 'object') return;
    if (before.sizeBytes !== after.sizeBytes || before.createdAt !== after.createdAt)
      wrong(`"${after.key}" changed its size or birth under one generation`);
    if (before.sha256 !== undefined && before.sha256 !== after.sha256)
      wrong(`"${after.key}" changed its recorded hash`);
  }

  function queueChanged(id: string, after: QueueItem | null): void {
    const before = queue.get(id) ?? null;
    quotas.queueChanging(before, after);
    ledger.addItem(before, -1);
    ledger.addItem(after, 1);
    isLedgerDirty = true;
    const sentAt = world.current?.issuedAt ?? world.now;
    if (before === null && world.now - sentAt > tokenSlackMs) revived.add(id);
    if (after === null) queue.delete(id);
    else queue.set(id, after);
    deletes.queueChanged(before, id, after);
    if (before !== null || after === null) return;
    if (after.state === 'intent' && after.writtenAs !== undefined)
      calls.broughtBack(after.key, after.generation, world.current);
    // A sweep may still find there what nothing named.
    if (after.reason !== 'orphan') draining.named(after.backend, id);
    plain.itemAdded(after);
  }

  function check(): Violation | null {
    plain.check();
    if (dirty.size > 0) {
      for (const key of dirty) bytes.check(key);
      dirty.clear();
    }
    if (isLedgerDirty) {
      isLedgerDirty = false;
      quotas.settle();
      checkLedger();
    }
    return violations[0] ?? null;
  }

  /** A gate that came or went may have missed a commit; `recount --repair` mends it. */
  function fleetApplied(file: FleetFile): void {
    const gated = new Set(file.backends.filter((b) => b.quotaBytes > 0).map((b) => b.name));
    alwaysGated = files.length === 0 ? gated : alwaysGated.intersection(gated);
    files.push(file);
  }

  /** Invariant 4: transactions are atomic, so it holds after every step. */
  function checkLedger(): void {
    const difference = ledger.mismatch(ledgerRows(), alwaysGated);
    if (difference !== null) report(new Violation('4 ledger', difference));
  }

  function recount(): Violation | null {
    const held = snapshot();
    const fresh = createLedgerCheck();
    for (const entry of held.objects.values()) fresh.add(entry, 1);
    for (const item of held.queue.values()) fresh.addItem(item, 1);
    const difference = fresh.mismatch(held.counters, new Set());
    if (difference !== null) report(new Violation('4 ledger', `Recount: ${difference}`));
    const misspent = usage.usageMismatch(held.usage);
    if (misspent !== null) report(new Violation('usage', misspent));
    if (held.objects.size !== objects.size || held.queue.size !== queue.size)
      report(new Violation('simulator', 'The oracle has lost sight of the tables'));
    for (const { backend, storageKey, isExplained, isInHand } of bytes.orphans())
      if (!isExplained && !isInHand)
        report(
          new Violation('named bytes', `Nothing names "${storageKey}" on ${backend}, although nothing went wrong`),
        );
    for (const key of objects.keys()) dirty.add(key);
    plain.checkAll();
    return check();
  }

  return {
    calls: {
      ...calls,
      putAcked(call, generation) {
        calls.putAcked(call, generation);
        places.putAcked(generation, objects.get(call.key), call.copies ?? 1);
      },
    },
    objects,
    queue,
    usedBytes: ledger.usedBytes,
    fleetApplied,
    externalClientActed(backend, key) {
      plain.externalClientActed(backend, key);
      bytes.externalClientActed(backend, key);
    },
    rewritten: plain.rewritten,
    forged: bytes.forged,
    hasForged: bytes.hasForged,
    unsettledFiles: plain.unsettled,
    hasForsakenFiles: plain.hasForsaken,
    restored: (id) => void revived.add(id),
    drainAsked: draining.asked,
    drained: draining.told,
    undrained: deletes.undrained,
    report,
    check,
    recount,
    goodCopies: bytes.goodCopies,
    hiddenCopies: bytes.hiddenCopies,
    orphans: bytes.orphans,
    versionsLeft: bytes.versionsLeft,
    ...uploads,
    ...leases,
    ...breakers,
    ...listings,
    ...reads,
    ...usage,
    ...places,
    fileWritten(file) {
      places.fileWritten(file);
      keys.fileWritten(file);
    },
    requestSent(by, backend, operation, storageKey) {
      breakers.requestSent(by, backend, operation);
      usage.requestSent(by, backend, operation, storageKey);
    },
    tickBegan(actor, endsAt) {
      leases.tickBegan(actor, endsAt);
      draining.tickBegan(actor);
    },
    objectChanged,
    queueChanged,
    bytesWritten(backend, storageKey, by, isLate) {
      bytes.written(backend, storageKey, by, isLate);
      const drainedAt = drains().get(backend);
      // A library process may go by a view that is 5 s old, and began its put before; a tick read the fleet when it began.
      if (
        drainedAt !== undefined &&
        by.role !== 'client' &&
        by.role !== 'operator' &&
        by.startedAt > drainedAt + skewMs
      )
        report(
          new Violation(
            'drain',
            `${by.name} writes "${storageKey}" to ${backend}, which is draining`,
            keyWithin(storageKey) ?? undefined,
          ),
        );
      dirty.add(keyWithin(storageKey) ?? storageKey);
    },
    bytesHarmed: (backend, storageKey, isUnseen = false) => bytes.harmed(backend, storageKey, isUnseen),
    deleteAsked: deletes.asked,
    deleteHappens(actor, backend, storageKey, ifMatch) {
      deletes.happens(actor, backend, storageKey, ifMatch);
      dirty.add(keyWithin(storageKey) ?? storageKey);
    },
  };
}
