const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The first signal asks for an end after what is in flight; the second ends the process at once. */
export function stopSignal(abandon: () => void = () => {}): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) {
      abandon();
      process.exit(130);
    }
    controller.abort();
  };
  const before = signals.map((signal) => [signal, process.listeners(signal)] as const);
  for (const signal of signals) {
    process.removeAllListeners(signal);
    process.on(signal, onSignal);
  }
  return {
    signal: controller.signal,
    end() {
      for (const [signal, listeners] of before) {
        process.off(signal, onSignal);
        for (const listener of listeners) process.on(signal, listener as NodeJS.SignalsListener);
      }
    },
  };
}
