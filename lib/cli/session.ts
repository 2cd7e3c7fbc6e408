import type { Readable, Writable } from 'node:stream';
import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import type { Log } from '../base/log.ts';
import { createClient, type Holdfast } from '../client/client.ts';
import { HoldfastError } from '../client/error.ts';
import type { Home } from '../local/home.ts';
import { createJsonLog, logLevelOf, logLevels } from '../process/json-log.ts';
import { createProcess, type Env, type HoldfastProcess } from '../process/process.ts';
import { type FleetConfig, type FleetView, readFleet } from '../store/fleet-view.ts';
import { type ExitCode, UsageError } from './failure.ts';
import { quoted } from './format.ts';
import { attachHome, dynamodbOf } from './home.ts';
import { createPlainLog } from './plain-log.ts';

/** What a verb leaves behind: a text for people or a document for programs, and how it went. */
export interface Result {
  readonly text: string;
  readonly document: unknown;
  /** [0] */
  readonly exitCode?: ExitCode;
}

/** Where a command is run: in a shell, or in a test. */
export interface Terminal {
  readonly env: Env;
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** One run of the command line. */
export interface Session extends Terminal {
  readonly isJson: boolean;
  /** As it was given, to be given again. */
  readonly commandLine: string;
  /** Finds the tables, where they are kept on this machine: before anything of the process is asked for. */
  attach(): Promise<void>;
  /** The tables are served from this process, which kept them open: set in place of `attach`. */
  serve(home: Home): void;
  /** The tables, where they are kept in a folder of this machine. */
  readonly home: Home | undefined;
  /** The process of this session; made when it is first asked for. */
  process(): HoldfastProcess;
  client(): Holdfast;
  log(): Log;
  /** What a person is told, who breaks the command off from now on: what is so then, and how to go on; nothing, once it is over. */
  ifBrokenOff(sentence: string | undefined): void;
  readonly brokenOffSays: string | undefined;
  /** Runs at the end, also when a signal ends the command: must not wait. */
  atEnd(undo: () => void): void;
  /** Ends everything that was opened. */
  end(): Promise<void>;
  /** Only the undoing, at once. */
  abandon(): void;
}

export function createSession(terminal: Terminal, args: readonly string[], isJson: boolean): Session {
  const { env } = terminal;
  let holdfastProcess: HoldfastProcess | undefined;
  let client: Holdfast | undefined;
  let log: Log | undefined;
  let home: Home | undefined;
  let brokenOffSays: string | undefined;
  const undos: (() => void)[] = [];
  const abandon = () => {
    for (const undo of undos.splice(0).reverse()) undo();
  };
  const session: Session = {
    ...terminal,
    isJson,
    commandLine: ['holdfast', ...args.map(quoted)].join(' '),
    ifBrokenOff(sentence) {
      brokenOffSays = sentence;
    },
    get brokenOffSays() {
      return brokenOffSays;
    },
    async attach() {
      home = await attachHome(env);
    },
    serve(served) {
      home = served;
    },
    get home() {
      return home;
    },
    log() {
      log ??= createLog(terminal, isJson);
      return log;
    },
    process() {
      holdfastProcess ??= createProcess({
        env,
        log: session.log(),
        ...defined({ dynamodb: home && dynamodbOf(home) }),
      });
      return holdfastProcess;
    },
    client() {
      client ??= createClient(session.process());
      return client;
    },
    atEnd: (undo) => undos.push(undo),
    abandon,
    async end() {
      abandon();
      try {
        await client?.close();
      } catch (error) {
        session.log().warn('Usage could not be written', { message: (error as Error).message });
      } finally {
        await holdfastProcess?.close();
        await home?.close();
      }
    },
  };
  return session;
}

function createLog({ env, stderr }: Terminal, isJson: boolean): Log {
  // JSON lines are for programs, and for those who ask for them.
  if ((env.HOLDFAST_LOG ?? '') === '' && !isJson) return createPlainLog((line) => stderr.write(line));
  const level = logLevelOf(env.HOLDFAST_LOG, 'warn');
  if (level === null)
    throw new UsageError(`HOLDFAST_LOG is "${env.HOLDFAST_LOG}"; it must be one of ${logLevels.join(', ')}`);
  return createJsonLog(systemClock, level, (line) => stderr.write(line));
}

/** The fleet's state. Throws `not-configured` before `init`. */
export async function fleetNow(session: Session): Promise<FleetView & { readonly config: FleetConfig }> {
  const { store, clock } = session.process();
  const view = await readFleet(store, clock.now());
  if (view.config === null)
    throw new HoldfastError('not-configured', 'The fleet has no configuration: run `holdfast init` first');
  return { ...view, config: view.config };
}

/** What stands behind a verb; the words of a repeated argument are one of them, as an array. */
export type Arguments = readonly (string | undefined)[];

/** Adds a verb: its action gets a session, its arguments and its options. */
export type AddVerb = <Options>(
  command: Command,
  act: (session: Session, args: Arguments, options: Options) => Promise<Result>,
  /** [`attached`] Whether the tables are found first, or the verb has servers of its own. */
  tables?: 'attached' | 'own',
) => void;

/** A group of verbs adds itself to the program. */
export type VerbGroup = (program: Command, verb: AddVerb) => void;
