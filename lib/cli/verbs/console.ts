import { CommandError } from '../failure.ts';
import { stopSignal } from '../interrupt.ts';
import { wholeNumber } from '../numbers.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

interface ConsoleFlags {
  readonly port: number;
  readonly readOnly?: boolean;
}

/** `console`: the fleet in a browser, until a signal. */
export const consoleVerbs: VerbGroup = (program, verb) => {
  verb<ConsoleFlags>(
    program
      .command('console')
      .description('serve a page on 127.0.0.1 that shows the fleet and steers it, until a signal')
      .option('--port <port>', 'port to serve it on; 0 = any free one', wholeNumber(0, 65_535), 0)
      .option('--read-only', 'only show: nothing can be asked for that changes anything'),
    serve,
  );
};

async function serve(session: Session, _args: Arguments, { port, readOnly }: ConsoleFlags): Promise<Result> {
  await fleetNow(session);
  const interrupt = stopSignal(session);
  try {
    const running = await openConsole(session, { port, isReadOnly: readOnly === true });
    say(session, running.url);
    await aborted(interrupt.signal);
    await running.close();
  } finally {
    interrupt.end();
  }
  return { text: '', document: undefined };
}

/** Whoever has the address may do what this process may: it is printed here, and nowhere else. */
function say({ isJson, stdout, stderr }: Session, url: string): void {
  if (isJson) stdout.write(`${JSON.stringify({ url })}\n`);
  else stdout.write(`${url}\n`);
  stderr.write('The console runs until Ctrl-C; keep the address to yourself\n');
}

/** A console over a session's own process. */
export async function openConsole(session: Session, options: { readonly port: number; readonly isReadOnly: boolean }) {
  // Only those who ask for it load it.
  const { startConsole } = await import('../../console/console.ts');
  try {
    return await startConsole(session.process(), options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== 'listen') throw error;
    throw new CommandError(
      'port',
      `Cannot serve the console on 127.0.0.1:${options.port}: ${(error as Error).message}`,
    );
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
