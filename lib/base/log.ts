import type { Sentence } from './events.ts';

/** Values a log line may carry. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured log: a fixed sentence, with the data in fields. */
export interface Log {
  debug(sentence: Sentence, fields?: LogFields): void;
  info(sentence: Sentence, fields?: LogFields): void;
  warn(sentence: Sentence, fields?: LogFields): void;
  error(sentence: Sentence, fields?: LogFields): void;
}

const quiet = () => {};

export const silentLog: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
