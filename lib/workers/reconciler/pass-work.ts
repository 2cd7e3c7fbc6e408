import type { Admission } from '../../base/admission.ts';
import { defined } from '../../base/defined.ts';
import { createCommitter } from '../../store/committer.ts';
import { shards } from '../../store/keys.ts';
import type { Entry } from '../../store/model.ts';
import { type PassId, passHeader, passName } from '../../store/pass-rows.ts';
import { rowKeys } from '../../store/row-keys.ts';
import type { Tick } from '../../tick/tick.ts';
import { readStretch } from '../../tick/walk.ts';
import type { ComparePageTick } from './compare-page.ts';
import { compareKey, compareRecorded, compareStretch, type SweepRules } from './compare-page.ts';
import { type ImportDeps, importFile } from './files.ts';
import type { ListedOn } from './joined-feed.ts';
import { createKeyFeed } from './key-feed.ts';
import { type KeyTurn, settled } from './key-turn.ts';
import type { PassWork } from './pass.ts';
import type { RecoverWorkTick } from './recover-work.ts';

/** What this file asks of a tick. */
export type PassWorkTick = Pick<Tick, 'deps' | 'params' | 'tuning' | 'view' | 'commitDeps'> &
  ComparePageTick &
  RecoverWorkTick;

/** Swaps in one transaction: with their ledger rows they are just below its limit. */
const groupSize = 90;
/** Transactions that may be out at once. */
const groupsAtOnce = 8;

/**
 * What a pass of some kind does with what it lists.
 *
 * @param reading lets stretches in whose records are read: one for all sweeps of a tick
 */
export async function createPassWork(tick: PassWorkTick, id: PassId, reading: Admission): Promise<PassWork> {
  switch (id.kind) {
    case 'sweep':
    case 'delete-unrecorded':
    case 'delete-superseded':
      return sweepWork(tick, id, reading);
    case 'import':
      return (await import('./import-work.ts')).importWork(importDeps(tick, askedAt(tick, id)), id);
    case 'recover':
      return (await import('./recover-work.ts')).recoverWork(tick, id);
  }
}

/** When a person asked for a pass: that is also whoever lets it go on. */
function askedAt(tick: PassWorkTick, id: PassId): number {
  const { isRunning, startedAt } = passHeader(tick.view, passName(id));
  return tick.reconcile?.since ?? (isRunning ? startedAt : tick.now());
}

function importDeps(tick: PassWorkTick, personAskedAt?: number): ImportDeps {
  const committer = createCommitter(() => tick.commitDeps(), { groupSize, width: groupsAtOnce });
  return { tick, committer, ...defined({ personAskedAt, plan: tick.reconcile?.plan }) };
}

/** Both directions, over the keys of one backend. */
function sweepWork(tick: PassWorkTick, id: PassId, reading: Admission): PassWork {
  const backend = id.backends[0]!;
  const progress = { listed: 0 };
  const deps = importDeps(tick);
  // A drain that is over left files where they are: they belong to their objects again.
  const rejoins = tick.view.row(rowKeys.rejoin(backend)) !== undefined;
  const rules: SweepRules = {
    backend,
    reading,
    deletesUnrecorded: id.kind === 'delete-unrecorded',
    deletesSuperseded: id.kind === 'delete-superseded',
    listedSoFar: () => progress.listed,
    ...((tick.params.reconcilerImports || rejoins) && {
      importFile(listed: ListedOn, entry: Entry | null, askedAt: number) {
        const isRejoining = rejoins && isRemembered(entry, listed);
        if (!isRejoining && !tick.params.reconcilerImports) return settled('skipped', 'unmarked');
        return importOne(isRejoining ? { ...deps, personAskedAt: askedAt } : deps, listed, entry, askedAt);
      },
    }),
  };
  return {
    id,
    progress,
    openKeys: (after) => createKeyFeed(tick.deps.store, after),
    compare: (stretch, recordedKeys) => compareStretch(tick, rules, stretch, recordedKeys),
    compareKey: (_backend, storageKey) => compareKey(tick, rules, storageKey),
    async compareRecords(_backend, place) {
      const { objects, next } = await readStretch(tick.deps.store, shards, place, tick.tuning.batchSize);
      return { results: await compareRecorded(tick, rules, objects), next };
    },
  };
}

function isRemembered(entry: Entry | null, { backend, item }: ListedOn): boolean {
  return entry?.kind === 'object' && entry.plainEtags?.[backend] === item.etag;
}

async function importOne(deps: ImportDeps, listed: ListedOn, entry: Entry | null, askedAt: number): Promise<KeyTurn> {
  const key = listed.item.storageKey;
  const [result] = await importFile(deps, { key, files: [listed], entry, askedAt });
  return result!.turn;
}
