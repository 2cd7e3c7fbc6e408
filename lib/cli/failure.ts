import { awsAnswer } from '../base/aws-advice.ts';
import { HoldfastError } from '../client/error.ts';
import { ConfigError } from '../config/problems.ts';
import { BackendError } from '../fleet/backend.ts';
import { NotApplied } from '../operations/apply/deps.ts';
import { StoreError } from '../store/port.ts';
import type { SignalCode } from './interrupt.ts';

/**
 * 0 success, nothing to do, a tick whose lease another tick has · 1 partial, failed, error, kept from running by another command ·
 * 2 bad flags, key or fleet file · others: ended by a signal.
 */
export type ExitCode = 0 | 1 | 2 | SignalCode;

/** The command line itself is wrong. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command was right and could not be done. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly kind: string;
  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface Failure {
  /** One clear sentence; a list of problems has one line each. */
  readonly sentence: string;
  readonly kind: string;
  readonly exitCode: ExitCode;
}

/** What a thrown error means to the person at the terminal. */
export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError) return { sentence: error.message, kind: 'usage', exitCode: 2 };
  if (error instanceof NotApplied) return { sentence: error.message, kind: 'not-applied', exitCode: 1 };
  if (error instanceof ConfigError) return { sentence: error.message, kind: 'config', exitCode: 2 };
  if (error instanceof HoldfastError)
    return { sentence: error.message, kind: error.kind, exitCode: error.kind === 'bad-key' ? 2 : 1 };
  if (error instanceof CommandError || error instanceof StoreError || error instanceof BackendError)
    return { sentence: error.message, kind: error.kind, exitCode: 1 };
  const fileSentence = sentenceOfFiles(error);
  if (fileSentence !== undefined) return { sentence: fileSentence, kind: 'file', exitCode: 1 };
  // An answer of AWS that no port was asked for, such as one of a credentials provider.
  const isOfAws = error instanceof Error && '$metadata' in error;
  const sentence = isOfAws ? awsAnswer(error) : error instanceof Error ? error.message || error.name : String(error);
  return { sentence, kind: 'unexpected', exitCode: 1 };
}

/** What a person calls a call of the file system. */
const fileActions: Readonly<Record<string, string>> = {
  open: 'open',
  read: 'read',
  write: 'write',
  mkdir: 'make the folder',
  scandir: 'read the folder',
  lstat: 'look at',
  stat: 'look at',
};

/** A refusal of the file system that no verb has said in its own words; undefined for other errors. */
function sentenceOfFiles(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('errno' in error)) return undefined;
  const { syscall, path } = error as NodeJS.ErrnoException;
  const action = fileActions[syscall ?? ''];
  if (action === undefined) return undefined;
  return path === undefined
    ? `Cannot ${action} a file: ${fileProblem(error)}`
    : `Cannot ${action} "${path}": ${fileProblem(error)}`;
}

/** What a file system said, without its call names: `no such file or directory`. */
export function fileProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /^[A-Z]+: ([^,]+)/.exec(message)?.[1] ?? message;
}
