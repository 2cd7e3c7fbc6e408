import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { printable, printableJson } from '../base/printable.ts';
import { StoreError } from '../store/port.ts';
import { examples } from './examples.ts';
import { type ExitCode, failureOf } from './failure.ts';
import { type EndingSignal, sayBrokenOff, signalCodes } from './interrupt.ts';
import { type AddVerb, createSession, type Result, type Session, type Terminal } from './session.ts';
import { completionVerbs } from './verbs/completion.ts';
import { consoleVerbs } from './verbs/console.ts';
import { drainVerbs } from './verbs/drain.ts';
import { exportVerbs } from './verbs/export.ts';
import { inspectVerbs } from './verbs/inspect.ts';
import { localVerbs } from './verbs/local.ts';
import { lookVerbs } from './verbs/look.ts';
import { objectVerbs } from './verbs/object.ts';
import { passVerbs } from './verbs/passes.ts';
import { queueVerbs } from './verbs/queue.ts';
import { recountVerbs } from './verbs/recount.ts';
import { runVerbs } from './verbs/run.ts';
import { settingsVerbs } from './verbs/settings.ts';
import { setupVerbs } from './verbs/setup.ts';
import { statusVerbs } from './verbs/status.ts';
import { stuckVerbs } from './verbs/stuck.ts';
import { tickVerbs } from './verbs/tick.ts';
import { undeleteVerbs } from './verbs/undelete.ts';
import { usageVerbs } from './verbs/usage.ts';

/** Every group of verbs, in the order in which help lists them. */
const groups = [
  setupVerbs,
  objectVerbs,
  undeleteVerbs,
  exportVerbs,
  statusVerbs,
  usageVerbs,
  lookVerbs,
  tickVerbs,
  runVerbs,
  settingsVerbs,
  drainVerbs,
  queueVerbs,
  stuckVerbs,
  inspectVerbs,
  passVerbs,
  recountVerbs,
  localVerbs,
  consoleVerbs,
  completionVerbs,
];

/** Runs the command line and ends the process with its exit code. */
export async function main(args: readonly string[]): Promise<never> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough closes its end: nothing is wrong then.
    if (error.code !== 'EPIPE') process.stderr.write(`error: Cannot write what was asked for: ${error.message}\n`);
    process.exit(1);
  });
  const code = await runCommandLine(args, process);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(code);
}

/** Runs the command line, and leaves the process as it is; signals end it. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = createProgram(terminal, args, (verb) => async (session) => {
    code = await runVerb(session, verb);
  });
  try {
    assertHelpIsThere(program, args);
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version are what was asked for; commander has written everything.
    if (error.exitCode === 0) return 0;
    const isNoVerb = error.code === 'commander.help';
    const sentence = isNoVerb ? 'Name a verb: `holdfast --help` lists them' : error.message.replace(/^error: /, '');
    if (args.includes('--json')) printDocument(terminal, { error: sentence, kind: 'usage' });
    return 2;
  }
}

/** Help about no verb is refused as that verb is: it would be the help of all, and say nothing of the mistake. */
function assertHelpIsThere(program: Command, args: readonly string[]): void {
  const [first, about] = args.filter((one) => one !== '--json');
  const isAsked = first === 'help' && about !== undefined && !about.startsWith('-');
  const isThere = about === 'help' || program.commands.some((command) => command.name() === about);
  if (isAsked && !isThere) program.error(`error: unknown command '${about}'`, { code: 'commander.unknownCommand' });
}

type Verb = (session: Session) => Promise<Result>;

function createProgram(
  terminal: Terminal,
  words: readonly string[],
  wrap: (verb: Verb) => (session: Session) => Promise<void>,
): Command {
  const program = new Command('holdfast')
    .description('Keeps objects safe across several independent S3-compatible backends.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [verb]', 'print the help of a verb')
    .option('--json', 'print one JSON document on stdout, and nothing else there')
    .showHelpAfterError('(holdfast --help lists the verbs)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      outputError: (text, write) => write(withDashHint(text)),
    })
    .addHelpText('after', environmentHelp);
  const add: AddVerb = (command, act, tables = 'attached') => {
    command.option('--json', 'print one JSON document on stdout').helpOption('-h, --help', 'print this help');
    command.action(async (...given: unknown[]) => {
      const args = given.slice(0, -2) as (string | undefined)[];
      const options = command.optsWithGlobals();
      const session = createSession(terminal, words, options.json === true);
      await wrap(async (s) => {
        if (tables === 'attached') await s.attach();
        return act(s, args, options as Parameters<typeof act>[2]);
      })(session);
    });
  };
  for (const group of groups) group(program, add);
  for (const command of program.commands) {
    const example = examples[command.name()];
    if (example !== undefined) command.addHelpText('after', `\nExample:\n  ${example}`);
  }
  return program;
}

/** `-dash` may be a flag that there is not, and may be somebody's key. */
function withDashHint(text: string): string {
  return text.replace(
    /^(error: unknown option '-[^-'][^']*')\n/,
    '$1; a name that begins with a dash comes after `--`\n',
  );
}

const environmentHelp = `
Environment:
  HOLDFAST_FLEET            path of the fleet file, or the file itself as JSON (init, apply, local)
  OBJECTS_TABLE, QUEUE_TABLE, CONTROL_TABLE   [holdfast-objects, holdfast-queue, holdfast-control]
  AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB, ...  as in every AWS tool
  HOLDFAST_HOME             folder that holds the tables, on one machine without DynamoDB (run) [.holdfast/run]
  HOLDFAST_LOG              debug, info, warn, error or silent: JSON lines on stderr [warn]

Exit codes: 0 success, nothing to do, a tick whose lease another tick has; 1 partial, failed, error, kept from running
by another command; 2 bad flags, key or fleet file; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM`;

async function runVerb(session: Session, verb: Verb): Promise<ExitCode> {
  const onSignal = (signal: EndingSignal) => {
    session.abandon();
    if (session.brokenOffSays !== undefined) sayBrokenOff(session, signal, session.brokenOffSays);
    process.exit(signalCodes[signal]);
  };
  for (const signal of Object.keys(signalCodes)) process.once(signal, onSignal);
  try {
    const { text, document, exitCode } = await verb(session);
    // What is left is to say so, and to close.
    session.ifBrokenOff(undefined);
    // A verb that has printed its document itself leaves none.
    if (session.isJson && document !== undefined) printDocument(session, document);
    if (!session.isJson && text !== '') session.stdout.write(`${printable(text)}\n`);
    return exitCode ?? 0;
  } catch (error) {
    session.ifBrokenOff(undefined);
    return report(session, error);
  } finally {
    await session.end();
    for (const signal of Object.keys(signalCodes)) process.off(signal, onSignal);
  }
}

function report(session: Session, error: unknown): ExitCode {
  const failure = failureOf(error);
  const { kind, exitCode } = failure;
  const isBare = session.home !== undefined && error instanceof StoreError && kind === 'missing-table';
  const sentence = isBare
    ? `The folder "${session.home.dir}" holds no tables yet: \`holdfast run\`, or \`holdfast init\`, makes them`
    : failure.sentence;
  session.stderr.write(`error: ${printable(sentence)}\n`);
  if (session.isJson) printDocument(session, { error: sentence, kind });
  if (session.env.HOLDFAST_LOG === 'debug' && error instanceof Error) {
    session.log().debug('The command failed', { kind, stack: error.stack });
  }
  return exitCode;
}

function printDocument({ stdout }: Terminal, document: unknown): void {
  stdout.write(`${printableJson(document, 2)}\n`);
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => resolve());
  });
}

/** From the manifest next to `lib`, or to the `dist` that holds it. */
function version(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version;
    } catch {}
  }
  return 'unknown';
}
