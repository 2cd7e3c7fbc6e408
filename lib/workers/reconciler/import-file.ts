import { maxKeyBytes } from '../../config/fleet-file.ts';
import { BackendError, type StoredObject } from '../../fleet/backend.ts';
import { readableCopies } from '../../steps/quarantine.ts';
import { importingLabel, queueId } from '../../store/keys.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import { newRecord } from '../../store/records.ts';
import { readingOf } from '../../tick/budget.ts';
import { isUsable } from '../../tick/health.ts';
import { readCopy } from '../../transfer/read-copy.ts';
import { learnDigest } from '../../transfer/verify.ts';
import { found, type Pass } from './pass.ts';

/**
 * Imports a file that Holdfast did not write as a plain copy (N5): of a new object, or of one that another backend holds
 * already with equal bytes. It is recorded where it is and never touched.
 */
export async function importFile(pass: Pass, stored: StoredObject, key: string, entry: Entry | null): Promise<void> {
  const { tick, backend } = pass;
  if (Buffer.byteLength(key) > maxKeyBytes(tick.config)) return found(pass, 'skipped', 'too-long', key);
  if (!key.isWellFormed() || key === '') return found(pass, 'skipped', 'odd-name', key);
  if (entry?.plainEtags?.[backend.name] === stored.etag) return found(pass, 'skipped', 'left-behind', key);
  const id = queueId(backend.name, key, stored.etag);
  if ((await tick.deps.store.queueItems([id])).has(id)) return found(pass, 'skipped', 'queued', key);
  // Whoever empties a backend does not fill it: its copies would leave again, and this one is not ours.
  if (tick.standing(backend.name).isDraining) return found(pass, 'skipped', 'draining', key);
  if (tick.dryRun) return found(pass, 'skipped', 'dry-run', key);
  if (entry?.kind === 'object') return join(pass, stored, entry);
  const after = newRecord({
    key,
    generation: tick.deps.ids.ulid(),
    sizeBytes: stored.sizeBytes,
    createdAt: stored.lastModified ?? tick.now(),
    copies: { [backend.name]: '' },
    policy: importingLabel,
    plainEtags: { ...entry?.plainEtags, [backend.name]: stored.etag },
  });
  const [outcome] = await tick.commit([{ key, change: { before: entry, after }, ignoresRoom: true }]);
  if (outcome?.outcome !== 'committed') return found(pass, 'skipped', `import-${outcome?.outcome}`, key);
  tick.audit('File imported', { key, backend: backend.name, generation: after.generation });
  return found(pass, 'succeeded', 'imported', key);
}

/** Both sides are read; equal bytes join, others are a conflict, remembered by their ETag so as not to be read again. */
async function join(pass: Pass, stored: StoredObject, entry: ObjectRecord): Promise<void> {
  const { tick, backend } = pass;
  const { key } = entry;
  if (entry.copies[backend.name] !== undefined) return found(pass, 'skipped', 'left-behind', key);
  const known = entry.sha256 ?? (await hashOf(pass, entry));
  if (known === null) return found(pass, 'skipped', 'unreadable', key);
  const spend = readingOf({ sizeBytes: stored.sizeBytes });
  const refusal = pass.budget.refuses(backend.name, spend);
  if (refusal !== null) return found(pass, 'deferred', refusal, key);
  const giveBack = pass.budget.reserve(backend.name, spend);
  const open = () => backend.get(key, { ifMatch: stored.etag, reusesBuffers: true }, tick.signal);
  const digest = await learnDigest(open).finally(giveBack);
  if (digest === null) return found(pass, 'failed', 'unreadable', key);
  const { sha256 } = digest;
  const plainEtags = { ...entry.plainEtags, [backend.name]: stored.etag };
  const isEqual = sha256 === known;
  const after: ObjectRecord = isEqual
    ? { ...entry, sha256: known, plainEtags, copies: { ...entry.copies, [backend.name]: '' } }
    : { ...entry, sha256: known, plainEtags };
  const [outcome] = await tick.commit([{ key, change: { before: entry, after }, ignoresRoom: true }]);
  if (outcome?.outcome !== 'committed') return found(pass, 'skipped', `join-${outcome?.outcome}`, key);
  if (!isEqual) return found(pass, 'skipped', 'conflict', key, { sha256, recorded: known });
  tick.audit('File joined an object', { key, backend: backend.name });
  return found(pass, 'succeeded', 'joined', key);
}

async function hashOf(pass: Pass, entry: ObjectRecord): Promise<string | null> {
  const { tick } = pass;
  for (const name of readableCopies(tick, entry)) {
    if (!(await isUsable(tick, name))) continue;
    if (pass.budget.refuses(name, readingOf(entry)) !== null) continue;
    const giveBack = pass.budget.reserve(name, readingOf(entry));
    try {
      const reading = await readCopy(await tick.backend(name), entry, tick.signal);
      if (reading.outcome === 'good') return reading.digest.sha256;
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
    } finally {
      giveBack();
    }
  }
  return null;
}
