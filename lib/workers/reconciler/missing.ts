import { decodeTime } from 'ulid';
import { compareUtf8 } from '../../base/bytes.ts';
import { allEnded } from '../../base/pool.ts';
import { quarantineOnEvidence } from '../../steps/quarantine.ts';
import { shards, storageKey } from '../../store/keys.ts';
import type { ObjectRecord } from '../../store/model.ts';
import { found, type Pass, settleKey } from './pass.ts';

/**
 * The recorded copies of a backend whose storage key lies in (`after`, `upTo`], in no order: what a listing of that stretch
 * should show. A key stands before its own storage keys, with nothing but `!…` between, so those that begin before the
 * stretch are prefixes of `after` and are looked up by name.
 */
export async function recordedBetween(
  pass: Pass,
  after: string | undefined,
  upTo: string | undefined,
): Promise<ObjectRecord[]> {
  const { store } = pass.tick.deps;
  const keys = new Set(prefixesBefore(after));
  await allEnded(
    shards.map(async (shard) => {
      let at = after;
      for (;;) {
        const page = await store.byKey(shard, at, pageSize);
        for (const key of page.items) {
          if (upTo !== undefined && compareUtf8(key, upTo) > 0) return;
          keys.add(key);
        }
        if (page.next === undefined) return;
        at = page.next;
      }
    }),
  );
  const entries = await store.objects([...keys]);
  return [...entries.values()].filter((entry): entry is ObjectRecord => {
    const copyId = entry.kind === 'object' ? entry.copies[pass.backend.name] : undefined;
    if (copyId === undefined) return false;
    const storage = storageKey(entry.key, copyId);
    return (
      (after === undefined || compareUtf8(storage, after) > 0) &&
      (upTo === undefined || compareUtf8(storage, upTo) <= 0)
    );
  });
}

const pageSize = 250;

/** Keys whose storage keys may stand behind `after` although they themselves do not. */
function prefixesBefore(after: string | undefined): string[] {
  if (after === undefined) return [];
  const found = [after];
  for (let i = 1; i < after.length; i += 1) {
    if (after.charCodeAt(i) <= '!'.charCodeAt(0)) found.push(after.slice(0, i));
  }
  return found.filter((key) => key !== '' && key.isWellFormed());
}

/** N4: what is recorded and was not listed is asked for by name; what is not there then goes to `quarantine`. */
export async function settleMissing(
  pass: Pass,
  recorded: readonly ObjectRecord[],
  listed: ReadonlySet<string>,
): Promise<void> {
  const { tick, backend } = pass;
  for (const object of recorded) {
    const copyId = object.copies[backend.name]!;
    const storage = storageKey(object.key, copyId);
    if (listed.has(storage) || isYoung(pass, object, copyId)) continue;
    if (tick.dryRun) {
      found(pass, 'skipped', 'not-listed', storage);
      continue;
    }
    await settleKey(pass, storage, () => settleUnlisted(pass, object, storage));
  }
}

async function settleUnlisted(pass: Pass, object: ObjectRecord, storage: string): Promise<void> {
  const { tick, backend } = pass;
  if ((await backend.head(storage, tick.signal)) !== null) return found(pass, 'skipped', 'listing-lags', storage);
  const { outcome: verdict } = await quarantineOnEvidence(tick, object.key, backend.name);
  const isSettled = verdict === 'quarantined' || verdict === 'damaged';
  return found(pass, isSettled ? 'succeeded' : 'skipped', `missing-${verdict}`, storage);
}

/** A listing may have begun before a young copy was written. */
function isYoung(pass: Pass, object: ObjectRecord, copyId: string): boolean {
  const madeAt = copyId === '' ? object.createdAt : decodeTime(copyId);
  return pass.tick.now() - madeAt < pass.tick.params.reconcilerMinAgeMs;
}
