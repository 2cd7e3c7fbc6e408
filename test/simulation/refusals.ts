import type { BackendErrorKind } from '../../lib/fleet/backend.ts';
import type { Fault, Faults } from './faults.ts';
import { keyWithin } from './oracle/reading.ts';
import type { Random } from './random.ts';

/** An answer that speaks of one key, or of one kind of request, and of nothing else. */
export interface Refusal {
  readonly fault: Fault;
  readonly kind: BackendErrorKind;
}

/**
 * What backends refuse for good: the same key, the same kind of request, each time. Everything else there works, so nothing
 * else may wait for it. It lasts until it is lifted, also when nothing else goes wrong any more.
 */
export interface Refusals {
  /** How a request about a storage key is answered; undefined: as ever. */
  of(backend: string, operation: string, storageKey: string): Refusal | undefined;
  /** Whether a backend takes no copy of an object. */
  refusesCopy(backend: string, key: string): boolean;
  /** Whether a copy of an object can neither be read nor asked for. */
  hidesCopy(backend: string, key: string): boolean;
  /** Bytes that can be neither read nor asked for from now on. */
  hideBytes(backend: string, storageKey: string): void;
  showBytes(backend: string, storageKey: string): void;
  /** Whether anything is refused now. */
  isAny(): boolean;
  lift(): void;
}

export interface RefusalsDeps {
  readonly random: Random;
  readonly faults: Faults;
  readonly backends: readonly string[];
  readonly keys: readonly string[];
  /** Buckets that keep versions: which there are is asked before anything is deleted. */
  readonly versioned: readonly string[];
}

const writes = /^(PUT begins|create-upload|part-\d+|complete-upload|COPY)$/;
const reads = /^(GET|HEAD|GET tags)$/;

/** The ways in which one object is not to a backend's liking: some say so, others fail like one that is in trouble. */
const refusingKinds = [
  'rejected',
  'denied',
  'unavailable',
  'unsupported',
  'unacceptable',
  'too-large',
  'signature',
] as const;

export function createRefusals({ random, faults, backends, keys, versioned }: RefusalsDeps): Refusals {
  const refused = new Map<string, Refusal>();
  const hidden = new Map<string, Refusal>();
  const kept = new Map<string, Refusal>();
  const requests = new Map<string, Refusal>();
  const hiddenBytes = new Set<string>();
  let isLifted = false;

  const some = (most: number) => random.shuffled(keys).slice(0, random.between(1, most));
  const place = (backend: string, key: string) => `${backend}/${key}`;
  if (faults.isOn('key refused') && random.chance(0.6))
    for (const key of some(4)) {
      const isEverywhere = random.chance(0.4);
      for (const backend of backends)
        if (isEverywhere || random.chance(0.4))
          refused.set(place(backend, key), { fault: 'key refused', kind: random.pick(refusingKinds) });
    }
  if (faults.isOn('key unreadable') && random.chance(0.4))
    for (const key of some(2))
      hidden.set(place(random.pick(backends), key), {
        fault: 'key unreadable',
        kind: random.pick(['unavailable', 'denied', 'rejected']),
      });
  if (faults.isOn('key undeletable') && random.chance(0.8))
    for (const key of some(6))
      kept.set(place(random.pick(backends), key), {
        fault: 'key undeletable',
        kind: random.pick(['unavailable', 'denied', 'unacceptable']),
      });
  const denied: readonly [Fault, string][] = [
    ['upload listing denied', 'open-uploads'],
    ['listing denied', 'LIST'],
  ];
  for (const [fault, operation] of denied)
    if (faults.isOn(fault) && random.chance(0.4))
      requests.set(`${random.pick(backends)} ${operation}`, { fault, kind: random.pick(['denied', 'rejected']) });

  if (faults.isOn('version listing denied') && versioned.length > 0 && random.chance(0.6))
    requests.set(`${random.pick(versioned)} DELETE`, { fault: 'version listing denied', kind: 'denied' });

  const about = (all: ReadonlyMap<string, Refusal>, backend: string, key: string) =>
    isLifted || faults.isYetToStart() ? undefined : all.get(place(backend, key));

  /** A copy in parts begins by looking for what an earlier one left. */
  const isDenied = (backend: string, operation: string) => !isLifted && requests.has(`${backend} ${operation}`);

  return {
    of(backend, operation, storageKey) {
      if (hiddenBytes.has(place(backend, storageKey)) && reads.test(operation))
        return { fault: 'key unreadable', kind: 'denied' };
      if (isLifted || faults.isYetToStart()) return undefined;
      const ofRequest = requests.get(`${backend} ${operation}`);
      if (ofRequest !== undefined) return ofRequest;
      const key = keyWithin(storageKey) ?? storageKey;
      if (writes.test(operation)) return about(refused, backend, key);
      if (reads.test(operation)) return about(hidden, backend, key);
      return operation === 'DELETE' ? about(kept, backend, key) : undefined;
    },
    // What was stored in parts is looked at before it is recorded.
    refusesCopy: (backend, key) =>
      about(refused, backend, key) !== undefined ||
      about(hidden, backend, key) !== undefined ||
      isDenied(backend, 'open-uploads'),
    hidesCopy: (backend, key) => about(hidden, backend, key) !== undefined,
    hideBytes: (backend, storageKey) => void hiddenBytes.add(place(backend, storageKey)),
    showBytes: (backend, storageKey) => void hiddenBytes.delete(place(backend, storageKey)),
    isAny: () => !isLifted && refused.size + hidden.size + kept.size + requests.size > 0,
    lift: () => {
      isLifted = true;
    },
  };
}
