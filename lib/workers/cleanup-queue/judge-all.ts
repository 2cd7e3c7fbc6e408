import { defined } from '../../base/defined.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import type { CopyReaderTick } from '../../steps/copy-reader.ts';
import { copyReader } from '../../steps/copy-reader.ts';
import type { QuarantineTick } from '../../steps/quarantine.ts';
import { verifiedCopy } from '../../steps/quarantine.ts';
import type { Entry, QueueItem } from '../../store/model.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { bytesOfItem } from '../../transfer/reading/stored-bytes.ts';
import { copyElsewhere, isBeingCopied, stillCopied } from './copy-elsewhere.ts';
import { type Judgement, judgeWaiting } from './judge-waiting.ts';
import type { CleanupQueueSettleTick } from './settle.ts';
import { settle } from './settle.ts';
import type { Deletable, ItemTurn, Turn } from './turn.ts';

/** What this file asks of a tick. */
export type JudgeAllTick = Pick<Tick, 'deps' | 'tuning' | 'outOfTime'> &
  CleanupQueueSettleTick &
  CopyReaderTick &
  HealthTick &
  QuarantineTick;

/** Judges bytes that left their record on evidence, without a claim; what is decided that way is settled here. */
export async function judgeAll(tick: JudgeAllTick, items: readonly QueueItem[]): Promise<Deletable[]> {
  const entries = await tick.deps.store.objects([...new Set(items.map(({ key }) => key))]);
  const deletable: Deletable[] = [];
  const turns: ItemTurn[] = [];
  await forEachConcurrently(items, tick.tuning.concurrency, async (item) => {
    const judgement = await judge(tick, item, entries.get(item.key));
    if (judgement.outcome === 'deletable') deletable.push({ item, ...defined({ proof: judgement.proof }) });
    else if (judgement.outcome !== 'needs-copy') turns.push({ item, isClaimed: false, turn: judgement });
    else turns.push({ item, isClaimed: false, turn: await copyElsewhere(tick, item, judgement.object) });
  });
  await settle(tick, turns);
  return deletable;
}

async function judge(tick: JudgeAllTick, item: QueueItem, entry: Entry | undefined): Promise<Judgement | Turn> {
  if (tick.outOfTime()) return { outcome: 'parked', why: 'out-of-time' };
  if (!(await isUsable(tick, item.backend))) return { outcome: 'parked', why: 'parked' };
  if (await isBeingCopied(tick.deps, item)) return stillCopied;
  const deps = {
    // What the item does not know the record may.
    read: () => {
      const sha256 = item.sha256 ?? (entry?.kind === 'object' ? entry.sha256 : undefined);
      return copyReader(tick).read({ ...bytesOfItem(item), ...defined({ sha256 }) }, { remembers: true });
    },
    verifiedCopy: (object: Entry & { kind: 'object' }) => verifiedCopy(tick, object),
  };
  return judgeWaiting(deps, item, entry);
}
