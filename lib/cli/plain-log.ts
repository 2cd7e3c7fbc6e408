import type { Sentence } from '../base/events.ts';
import { type Log, type LogFields, silentLog } from '../base/log.ts';
import { escaped } from './format.ts';

/** Warnings and errors as a person reads them: a sentence, and what it is about. */
export function createPlainLog(write: (line: string) => void): Log {
  const say = (level: string) => (sentence: Sentence, fields?: LogFields) =>
    write(`${level}: ${escaped(sentence)}${about(fields)}\n`);
  return { ...silentLog, warn: say('warning'), error: say('error') };
}

function about(fields: LogFields = {}): string {
  const { message, audit: _audit, ...others } = fields;
  const named = Object.entries(others).flatMap(([name, value]) =>
    value === undefined || typeof value === 'object'
      ? []
      : [`${name} ${typeof value === 'string' ? `"${escaped(value)}"` : value}`],
  );
  const subject = named.length === 0 ? '' : ` (${named.join(', ')})`;
  return `${subject}${typeof message === 'string' ? `: ${escaped(message)}` : ''}`;
}
