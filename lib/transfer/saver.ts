/** What became of one write of progress: `taken` it is not ours to write any more · `unknown` it may not stand. */
export type SaveOutcome = 'saved' | 'taken' | 'unknown';

/** Writes the latest progress, one write at a time; what was overtaken meanwhile is never written. */
export interface Saver<T> {
  note(progress: T): void;
  /** Resolves when the latest progress is written, or is known not to be ours to write. False in that case. */
  flush(): Promise<boolean>;
  isTaken(): boolean;
}

export function createSaver<T>(save: (progress: T) => Promise<SaveOutcome>): Saver<T> {
  let latest: { readonly progress: T } | undefined;
  let running: Promise<void> | undefined;
  let isTaken = false;
  const drain = async () => {
    while (latest !== undefined && !isTaken) {
      const { progress } = latest;
      latest = undefined;
      const outcome = await save(progress);
      if (outcome === 'taken') isTaken = true;
      if (outcome !== 'unknown') continue;
      // The next part tries again, with what there is by then.
      latest ??= { progress };
      return;
    }
  };
  const begin = () => {
    running ??= drain().finally(() => {
      running = undefined;
    });
    return running;
  };
  return {
    note(progress) {
      latest = { progress };
      // An error is met in `flush`.
      begin().catch(() => {});
    },
    async flush() {
      await running;
      if (latest !== undefined && !isTaken) await begin();
      return !isTaken;
    },
    isTaken: () => isTaken,
  };
}
