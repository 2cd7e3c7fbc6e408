import { bodyOf } from '../base/bytes.ts';
import { BackendError } from '../fleet/backend.ts';
import { internalPrefix } from '../fleet/owner.ts';
import { refusalBackoffMs } from '../plans/backoff.ts';
import type { ControlRow } from '../store/model.ts';
import { StoreError } from '../store/port.ts';
import { type Refusing, refusingProblem } from '../store/refusing.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';
import type { FleetAsRead, Tick, TickAccount, TickTime } from '../tick/tick.ts';
import { putVerified } from '../transfer/put-verified.ts';
import type { WriteCheck } from './target-trust.ts';

/** What this file asks of a tick. */
export type CheckWritesTick = Pick<Tick, 'deps' | 'runId' | 'backend'> & FleetAsRead & TickAccount & TickTime;

/** Always the same key: what is written there is replaced by the next check, and no object. */
export const writeCheckKey = `${internalPrefix}write-check`;
const checkBytes = Buffer.from('Holdfast asks whether this backend takes what it writes.\n');

/** Writes a few bytes as an object is written, verifies them, and remembers over ticks that they were refused, or no longer are. */
export async function checkWrites(tick: CheckWritesTick, backend: string): Promise<WriteCheck> {
  const row = tick.view.row(rowKeys.refusing(backend));
  const refusal = await refusalOfWrites(tick, backend);
  if (refusal.outcome !== 'refused') {
    const isOver = refusal.outcome === 'accepted' && row !== undefined;
    if (isOver) await remember(tick, { kind: 'row-end', pk: fleetKey, sk: row.sk, expect: row.version });
    return refusal.outcome;
  }
  const before = row?.data as Refusing | undefined;
  const now = tick.now();
  const attempts = (before?.attempts ?? 0) + 1;
  const retryAt = now + refusalBackoffMs(attempts - 1);
  const refusing: Refusing = { since: before?.since ?? now, attempts, retryAt, message: refusal.message };
  tick.problem(refusingProblem(backend, refusing));
  tick.audit('Backend takes no writes', { backend, attempts, message: refusal.message });
  const put: ControlRow = {
    pk: fleetKey,
    sk: rowKeys.refusing(backend),
    version: (row?.version ?? 0) + 1,
    data: { ...refusing },
  };
  await remember(tick, { kind: 'row', put, expect: row?.version ?? 'absent' });
  return 'refused';
}

type WriteAnswer =
  | { readonly outcome: 'accepted' | 'unknown' }
  | { readonly outcome: 'refused'; readonly message: string };

async function refusalOfWrites(tick: CheckWritesTick, backend: string): Promise<WriteAnswer> {
  try {
    const stored = await putVerified(
      await tick.backend(backend),
      {
        storageKey: writeCheckKey,
        body: bodyOf(checkBytes),
        expected: { sizeBytes: checkBytes.length },
        what: 'What is written to see whether writes are taken',
        headers: { contentType: 'text/plain' },
        mark: { fleetId: tick.fleetId, generation: tick.runId, isEncrypted: false },
      },
      tick.signal,
    );
    if (stored.outcome === 'refused') throw stored.error;
    return stored.outcome === 'stored' ? { outcome: 'accepted' } : { outcome: 'refused', message: stored.detail };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    tick.deps.log.warn('Backend did not take a write of a few bytes', { backend, kind: error.kind });
    // What speaks of the backend counts for its breaker; one that is full or asks for patience refuses nothing.
    return error.speaksOf === 'object' ? { outcome: 'refused', message: error.message } : { outcome: 'unknown' };
  }
}

/** Another tick may have written the row meanwhile, or the answer may be lost: the next check writes it again. */
async function remember(tick: CheckWritesTick, change: Parameters<Tick['deps']['store']['write']>[0]): Promise<void> {
  try {
    await tick.deps.store.write(change);
  } catch (error) {
    if (!(error instanceof StoreError) || !['unanswered', 'throttled', 'unreachable'].includes(error.kind)) throw error;
    tick.deps.log.warn('It was not written down whether a backend takes writes', { kind: error.kind });
  }
}
