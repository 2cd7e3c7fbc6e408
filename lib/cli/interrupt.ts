import type { Writable } from 'node:stream';
import { printable } from '../base/printable.ts';

/** As a shell says of a command that a signal ended. */
export const signalCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export type EndingSignal = keyof typeof signalCodes;
export type SignalCode = (typeof signalCodes)[EndingSignal];

const signals = Object.keys(signalCodes) as readonly EndingSignal[];

/** Who is told. */
interface Told {
  readonly stderr: Writable;
}

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** What the command ends with; undefined while no signal has come. */
  endedBy(): SignalCode | undefined;
  /** From here on signals do what they did before. */
  end(): void;
}

/** The first signal asks for an end after what is in flight, and says so; the second ends the process at once. */
export function stopSignal({ stderr }: Told, abandon: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  let code: SignalCode | undefined;
  const onSignal = (name: EndingSignal) => {
    if (code !== undefined) {
      abandon();
      process.exit(signalCodes[name]);
    }
    code = signalCodes[name];
    stderr.write(`${name}: what is in flight ends first; once more, and it is broken off\n`);
    controller.abort();
  };
  const handlers = signals.map((name) => ({ name, before: process.listeners(name), now: () => onSignal(name) }));
  for (const { name, now } of handlers) {
    process.removeAllListeners(name);
    process.on(name, now);
  }
  return {
    signal: controller.signal,
    endedBy: () => code,
    end() {
      for (const { name, before, now } of handlers) {
        process.off(name, now);
        for (const listener of before) process.on(name, listener as NodeJS.SignalsListener);
      }
    },
  };
}

/** Whoever breaks a command off is told what is so then, and how to go on. */
export function sayBrokenOff({ stderr }: Told, name: EndingSignal, sentence: string): void {
  stderr.write(`${name}: ${printable(sentence)}\n`);
}
