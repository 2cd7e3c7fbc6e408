import type { Clock } from '../base/clock.ts';
import { events, type Sentence } from '../base/events.ts';
import { type Log, type LogFields, silentLog } from '../base/log.ts';
import { printableJson } from '../base/printable.ts';

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** A log of one JSON object per line: time, level, event, sentence, and the fields as they are. Lines below `level` are dropped. */
export function createJsonLog(clock: Clock, level: LogLevel, write: (line: string) => void): Log {
  const from = logLevels.indexOf(level);
  const say = (name: LogLevel) => (sentence: Sentence, fields?: LogFields) => {
    if (logLevels.indexOf(name) < from) return;
    const time = new Date(clock.now()).toISOString();
    write(`${printableJson({ time, level: name, event: events[sentence], message: sentence, ...renamed(fields) })}\n`);
  };
  if (level === 'silent') return silentLog;
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
}

/** A field called `message` is an error's own words; the line's message is its sentence. */
function renamed(fields: LogFields = {}): LogFields {
  const { message, ...others } = fields;
  return message === undefined ? others : { ...others, detail: message };
}

/** The level that `HOLDFAST_LOG` asks for; null when it is none. */
export function logLevelOf(value: string | undefined, fallback: LogLevel): LogLevel | null {
  if (value === undefined || value === '') return fallback;
  return logLevels.find((level) => level === value.toLowerCase()) ?? null;
}
