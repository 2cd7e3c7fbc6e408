import type { Ids } from '../base/ids.ts';

/** Below the range from which systems hand out ports for outgoing connections, so that it is free again next time. */
const firstPort = 20_000;
const portCount = 10_000;

/** Ports to try, one after the other, for a server that is to be found where it was when it is started again. */
export function portsFrom(ids: Ids): () => number {
  return () => firstPort + Math.floor(ids.random() * portCount);
}

/** A port is known to be free only once it is one's own: whoever asks first and listens later may find it taken. */
export async function onFirstFree<T>(newPort: () => number, serve: (port: number) => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await serve(newPort());
    } catch (error) {
      if (!isTaken(error)) throw error;
    }
  }
}

/** Whether a server could not listen because another one does. */
export function isTaken(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
}
