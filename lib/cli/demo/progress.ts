import type { Clock } from '../../base/clock.ts';

/** Where the run is, for whoever watches it. */
export interface Progress {
  readonly isTerminal: boolean;
  /** What `line` says is shown until the next phase. */
  phase(line: () => string): void;
  /** A line that stays, in the place of the phase's, which ends. */
  say(line: string): void;
  stop(): Promise<void>;
}

const terminalMs = 100;
const plainMs = 2_000;

/** One line that is written over on a terminal; a line every 2 s elsewhere. */
export function startProgress(clock: Clock, out: NodeJS.WriteStream): Progress {
  const isTerminal = out.isTTY === true;
  const stopping = new AbortController();
  let current: (() => string) | undefined;
  let last = '';
  const draw = () => {
    const line = current?.() ?? '';
    if (line === '' || line === last) return;
    last = line;
    out.write(isTerminal ? `\r\x1b[2K${line.slice(0, (out.columns ?? 80) - 1)}` : `${line}\n`);
  };
  const loop = async () => {
    while (!stopping.signal.aborted) {
      await clock.sleep(isTerminal ? terminalMs : plainMs, stopping.signal).catch(() => {});
      if (!stopping.signal.aborted) draw();
    }
  };
  const running = loop();
  const settle = () => {
    draw();
    if (isTerminal && last !== '') out.write('\n');
    current = undefined;
    last = '';
  };
  return {
    isTerminal,
    phase(line) {
      settle();
      current = line;
      if (isTerminal) draw();
    },
    say(line) {
      out.write(isTerminal ? `\r\x1b[2K${line}\n` : `${line}\n`);
      current = undefined;
      last = '';
    },
    async stop() {
      settle();
      stopping.abort();
      await running;
    },
  };
}
