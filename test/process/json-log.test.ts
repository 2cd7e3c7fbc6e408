import { expect, test } from 'vitest';
import { events, type Sentence } from '../../lib/base/events.ts';
import { createJsonLog } from '../../lib/process/json-log.ts';
import { createManualClock } from '../../lib/testing/manual-clock.ts';

const sentences = Object.keys(events) as Sentence[];

test('every line of the log is a fixed sentence with an event name of its own, and data in fields [events-keep-names]', () => {
  const lines: string[] = [];
  const log = createJsonLog(createManualClock(0), 'info', (line) => void lines.push(line));
  for (const sentence of sentences) log.warn(sentence, { key: 'a\u202eb', message: 'what an error said' });
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(parsed.map(({ message }) => message)).toEqual(sentences);
  expect(new Set(parsed.map(({ event }) => event)).size).toBe(sentences.length);
  for (const { event, detail, key } of parsed) {
    expect(event).toMatch(/^[a-z]+(-[a-z]+)+$/);
    expect({ detail, key }).toEqual({ detail: 'what an error said', key: 'a\u202eb' });
  }
  // What a terminal would not show is escaped on its way there.
  expect(lines.join('')).not.toContain('\u202e');
});
