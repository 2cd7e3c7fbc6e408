/** Values a log line may carry. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured log: a fixed sentence, with the data in fields. */
export interface Log {
  debug(sentence: string, fields?: LogFields): void;
  info(sentence: string, fields?: LogFields): void;
  warn(sentence: string, fields?: LogFields): void;
  error(sentence: string, fields?: LogFields): void;
}

const quiet = () => {};

export const silentLog: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
