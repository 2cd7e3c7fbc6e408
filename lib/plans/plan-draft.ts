/** A backend as a plan sees it. */
export interface PlanBackend {
  readonly name: string;
  /** Bytes in use, without orphans: what moving objects changes. */
  readonly usedBytes: number;
  /** Bytes queued for deletion: they take up space, and moving objects does not change them. */
  readonly orphanBytes: number;
  /** 0 = no limit. */
  readonly limitBytes: number;
  readonly draining: boolean;
  readonly reachable: boolean;
}

/** An object that may be moved. */
export interface PlanObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** Every backend that holds it, or must not be given it. */
  readonly backends: readonly string[];
}

export interface PlanInput {
  readonly backends: readonly PlanBackend[];
  /** By the backend that it may be moved away from; taken in the order given. */
  readonly objects: Readonly<Record<string, readonly PlanObject[]>>;
  /** Moves at most. */
  readonly batchSize: number;
}

/** One copy of an object goes from one backend to another. */
export interface Move {
  readonly key: string;
  readonly from: string;
  readonly to: string;
  readonly sizeBytes: number;
}

/** A plan in the making: what has been planned, and what the backends would hold after it. */
export interface PlanDraft {
  readonly moves: readonly Move[];
  /** Limited, and something can be read there. */
  readonly sources: readonly PlanBackend[];
  /** Limited, reachable and not draining. */
  readonly destinations: readonly PlanBackend[];
  readonly isFull: () => boolean;
  usedBytes(backend: PlanBackend): number;
  ratio(backend: PlanBackend): number;
  /**
   * Plans the next object that may go from one backend to another and that `fits`; false when there is none. What was
   * passed over once for this pair is not read again, so room that `fits` refused must never come back.
   */
  moveNext(from: PlanBackend, to: PlanBackend, fits: (sizeBytes: number) => boolean): boolean;
}

export function newPlanDraft({ backends, objects, batchSize }: PlanInput): PlanDraft {
  const moves: Move[] = [];
  const planned = new Set<string>();
  const used = new Map(backends.map(({ name, usedBytes }) => [name, Math.max(0, usedBytes)]));
  const free = new Map(
    backends.map((b) => [b.name, b.limitBytes - Math.max(0, b.usedBytes) - Math.max(0, b.orphanBytes)]),
  );
  const passed = new Map<string, number>();
  const limited = backends.filter(({ limitBytes }) => limitBytes > 0);
  const record = (object: PlanObject, from: string, to: string) => {
    const { key, sizeBytes } = object;
    moves.push({ key, from, to, sizeBytes });
    planned.add(key);
    // What leaves is an orphan for a while, so no room comes free at the source.
    used.set(from, used.get(from)! - sizeBytes);
    used.set(to, used.get(to)! + sizeBytes);
    free.set(to, free.get(to)! - sizeBytes);
  };
  return {
    moves,
    sources: limited.filter(({ reachable }) => reachable),
    destinations: limited.filter(({ reachable, draining }) => reachable && !draining),
    isFull: () => !(moves.length < batchSize),
    usedBytes: ({ name }) => used.get(name)!,
    ratio: ({ name, limitBytes }) => used.get(name)! / limitBytes,
    moveNext(from, to, fits) {
      const all = Object.hasOwn(objects, from.name) ? objects[from.name]! : [];
      const pair = `${from.name}\n${to.name}`;
      for (let at = passed.get(pair) ?? 0; at < all.length; at += 1) {
        passed.set(pair, at + 1);
        const object = all[at]!;
        const { key, sizeBytes } = object;
        if (planned.has(key) || object.backends.includes(to.name)) continue;
        if (!(sizeBytes > 0) || !(sizeBytes <= free.get(to.name)!) || !fits(sizeBytes)) continue;
        record(object, from.name, to.name);
        return true;
      }
      return false;
    },
  };
}
