import { expect, test } from 'vitest';
import type { QueueItem } from '../../lib/store/model.ts';
import type { Change, Refusal } from '../../lib/store/port.ts';
import { afterEvent, type SendEvent, type SendState } from '../../lib/store/send.ts';
import { item, record } from '../contracts/store-fixtures.ts';

const idle = { phase: 'idle' } as const;
const inDoubt = { phase: 'in-doubt' } as const;
const settled = (outcome: 'done' | 'not-now' | 'undecided'): SendState => ({ phase: 'settled', answer: { outcome } });

const changes: Change[] = [
  { kind: 'object', put: record('k'), expect: { generation: 'g', rev: 1 } },
  { kind: 'queue-end', id: item('k').id, expect: { state: 'intent' } },
  { kind: 'queue', put: item('k'), expect: 'absent' },
  { kind: 'add', pk: 'fleet', sk: 'quota/b', add: { objects: 0, bytes: 1 }, atMostBytes: 5 },
];
const refusedBy = (refusal: Refusal, at: number): SendEvent => ({
  event: 'refused',
  refusals: changes.map((_, i) => (i === at ? refusal : null)),
});
const conflict = refusedBy({ cause: 'conflict' }, 0);
const moved = refusedBy({ cause: 'object', seen: record('k', { rev: 2 }) }, 0);
const gone = refusedBy({ cause: 'queue', seen: null }, 1);
const intent = (fields: Partial<QueueItem>) => refusedBy({ cause: 'queue', seen: item('k', fields) }, 1);
const full = refusedBy({ cause: 'counter', seen: { objects: 0, bytes: 9 } }, 3);
const existing = refusedBy({ cause: 'queue', seen: item('k') }, 2);

test.each<[string, SendEvent, SendState | 'refused', SendState | 'refused']>([
  ['done', { event: 'done' }, settled('done'), settled('done')],
  ['no time is left', { event: 'time-up' }, settled('not-now'), settled('undecided')],
  ['no answer', { event: 'unanswered' }, inDoubt, inDoubt],
  ['certainly no effect', { event: 'not-taken' }, idle, inDoubt],
  ['a conflict', conflict, 'refused', inDoubt],
  ['the object has another rev', moved, 'refused', 'refused'],
  ['the item is gone', gone, 'refused', 'refused'],
  ['the intent has become a deletion', intent({ state: 'cleanup' }), 'refused', 'refused'],
  ['the intent is still one', intent({ state: 'intent' }), 'refused', inDoubt],
  ['there is no room', full, 'refused', inDoubt],
  ['a new item exists already', existing, 'refused', inDoubt],
])('a transaction that is idle, and one in doubt, after: %s', (_, event, afterIdle, afterDoubt) => {
  const wanted = (state: SendState | 'refused') =>
    state === 'refused' ? { phase: 'settled', answer: { outcome: 'refused' } } : state;
  expect(afterEvent(idle, event, changes)).toMatchObject(wanted(afterIdle));
  expect(afterEvent(inDoubt, event, changes)).toMatchObject(wanted(afterDoubt));
});
