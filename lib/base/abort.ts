interface Waiting {
  readonly all: Set<() => void>;
  readonly fire: () => void;
}

/** By signal: what waits for it. */
const waiting = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls something when a signal is aborted, until the returned function is called. Many requests share one signal: it has one
 * listener for all of them, since a listener costs more than the rest of giving a request up. Without anybody who waits it has
 * none: a signal that is made of others would be kept for ever.
 */
export function onAbort(signal: AbortSignal, then: () => void): () => void {
  const { all, fire } = waiting.get(signal) ?? begin(signal);
  all.add(then);
  return () => {
    if (!all.delete(then) || all.size > 0) return;
    signal.removeEventListener('abort', fire);
    waiting.delete(signal);
  };
}

function begin(signal: AbortSignal): Waiting {
  const all = new Set<() => void>();
  const fire = () => {
    for (const go of all) go();
  };
  const begun = { all, fire };
  waiting.set(signal, begun);
  signal.addEventListener('abort', fire, { once: true });
  return begun;
}
