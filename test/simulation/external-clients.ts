import type { ObjectRecord } from '../../lib/store/model.ts';
import type { MemoryBackend, PutNow } from '../../lib/testing/backend/memory-backend.ts';
import type { Fault, Faults } from './faults.ts';
import type { Plan } from './fleet.ts';
import type { Oracle } from './oracle/oracle.ts';
import { storageKeyOf } from './oracle/reading.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

export interface ExternalClientsDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly plan: Plan;
  readonly oracle: Oracle;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  readonly random: Random;
  /** Of files that are like objects. */
  readonly likeness: Random;
  /** Told of each file that is put. */
  readonly told: (backend: string, key: string) => void;
}

/** People and programs that keep files in our buckets and know nothing of Holdfast. */
export interface ExternalClients {
  /** What is there before the fleet is. */
  settleIn(): void;
  /** One of them writes, overwrites or deletes a file, in a history that has it. */
  act(): void;
  /** One of them writes this file. */
  write(backend: string, key: string, bytes: Uint8Array, options?: PutNow): void;
  remove(backend: string, key: string): void;
}

export function createExternalClients({
  world,
  faults,
  plan,
  oracle,
  backends,
  random,
  likeness,
  told,
}: ExternalClientsDeps): ExternalClients {
  /** Where files of theirs are now. */
  const files: { readonly backend: string; readonly key: string }[] = [];
  let written = 0;

  const keys = [...plan.keys, ...plan.externalKeys];
  const isThere = (backend: string, key: string) => files.some((f) => f.backend === backend && f.key === key);
  function content(): Buffer {
    written += 1;
    return Buffer.from(`theirs ${written}|`.padEnd(random.spread(12, plan.maxObjectBytes), '.'));
  }

  function write(backend: string, key: string, bytes: Uint8Array, options: PutNow = {}): void {
    if (!isThere(backend, key)) files.push({ backend, key });
    // As of a file that was written in parts whose sizes nobody knows.
    const isOdd = faults.strikes('file with a useless ETag', 20);
    backends.get(backend)!.putNow(key, bytes, isOdd ? { etag: `"${written}-${world.step}-3"`, ...options } : options);
    oracle.externalClientActed(backend, key);
    told(backend, key);
  }

  function remove(backend: string, key: string): void {
    const at = files.findIndex((file) => file.backend === backend && file.key === key);
    if (at >= 0) files.splice(at, 1);
    backends.get(backend)!.deleteNow(key);
    oracle.externalClientActed(backend, key);
  }

  /** The same file on several backends, another on each, or on one alone. */
  function keep(key: string): void {
    const where = random.shuffled(plan.imported).slice(0, random.between(1, 2));
    const same = random.chance(0.5) ? content() : null;
    for (const backend of where) write(backend, key, same ?? content());
  }

  /** Somebody keeps what was put through us as a file of their own, too, and says the same or something else beside it. */
  function keepEqual(): boolean {
    const backend = likeness.pick(plan.imported);
    const objects = [...oracle.objects.values()].filter(
      (entry) => entry.kind === 'object' && entry.encryption === undefined && entry.sha256 !== undefined,
    ) as ObjectRecord[];
    const wanted = objects.filter((entry) => !isThere(backend, entry.key) && oracle.goodCopies(entry).length > 0);
    if (wanted.length === 0) return false;
    const entry = likeness.pick(wanted);
    const name = likeness.pick(oracle.goodCopies(entry));
    const { bytes, headers, metadata } = backends.get(name)!.peek(storageKeyOf(entry.key, entry.copies[name]!))!;
    const { holdfast: _mark, ...own } = metadata;
    // Of files that were joined before they were read each counts, whatever stands beside it.
    const isOfFiles = Object.values(entry.copies).includes('');
    const [hasHeaders, hasMetadata] = [likeness.chance(0.5) || isOfFiles, likeness.chance(0.8) || isOfFiles];
    write(backend, entry.key, bytes, {
      headers: hasHeaders ? headers : { contentType: 'text/like' },
      metadata: hasMetadata ? own : {},
    });
    return true;
  }

  const acts = {
    'external client wrote': (): boolean => {
      const backend = random.pick(plan.imported);
      const key = random.pick(keys);
      if (isThere(backend, key)) return false;
      const ours = [...backends.get(backend)!.contents().values()].filter(({ metadata }) => metadata.holdfast);
      // Sometimes a copy that a person made of ours, with its mark.
      const { bytes, metadata } =
        random.chance(0.3) && ours.length > 0 ? random.pick(ours) : { bytes: content(), metadata: {} };
      write(backend, key, bytes, { metadata });
      return true;
    },
    'external client overwrote': (): boolean => {
      if (files.length === 0) return false;
      // Mostly one that we are just looking at, if there is one.
      const seen = files.filter((file) => world.isAskedAbout(file.backend, file.key));
      const { backend, key } = random.pick(seen.length > 0 && random.chance(0.8) ? seen : files);
      const before = backends.get(backend)!.peek(key);
      // As a sync program does: the same bytes again, in parts.
      if (before !== undefined && random.chance(0.2))
        write(backend, key, before.bytes, { metadata: before.metadata, etag: `"${world.step}-2"` });
      else write(backend, key, content());
      return true;
    },
    'external client deleted': (): boolean => {
      if (files.length === 0) return false;
      const { backend, key } = random.pick(files);
      remove(backend, key);
      return true;
    },
  } satisfies Partial<Record<Fault, () => boolean>>;

  return {
    write,
    remove,
    settleIn() {
      const [picture, likeOurs] = plan.externalKeys;
      for (const name of backends.keys()) {
        write(name, picture!, Buffer.from(name));
        write(name, likeOurs!, Buffer.from('a person made this'));
      }
      if (plan.imported.length === 0) return;
      for (const key of [...random.shuffled(plan.keys).slice(0, random.between(2, 5)), ...plan.externalKeys.slice(2)])
        keep(key);
    },
    act() {
      const isEqual = faults.isOn('equal file written') && plan.imported.length > 0 && likeness.chance(0.15);
      if (isEqual && keepEqual()) return faults.count('equal file written');
      const fault = random.pick(Object.keys(acts) as (keyof typeof acts)[]);
      if (plan.imported.length === 0 || !faults.isOn(fault) || !acts[fault]()) return;
      faults.count(fault);
      world.trace(() => `accident: ${fault}`);
    },
  };
}
