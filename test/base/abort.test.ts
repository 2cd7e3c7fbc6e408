import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { onAbort } from '../../lib/base/abort.ts';

test('all who wait for one signal are called once, in order, with one listener, and those who went are not', () => {
  const controller = new AbortController();
  const called: string[] = [];
  const waiters = ['a', 'b', 'c'].map((name) => onAbort(controller.signal, () => called.push(name)));
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  waiters[1]!();
  controller.abort();
  expect(called).toEqual(['a', 'c']);
  for (const forget of waiters) forget();
  expect(called).toEqual(['a', 'c']);
});

test('a signal for which nobody waits any more has no listener, and serves those who come later', () => {
  const controller = new AbortController();
  const called: string[] = [];
  const first = onAbort(controller.signal, () => called.push('first'));
  first();
  first();
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  onAbort(controller.signal, () => called.push('second'));
  // What was forgotten already does not take the others along.
  first();
  controller.abort();
  expect(called).toEqual(['second']);
});

test('one that is called may forget the others', () => {
  const controller = new AbortController();
  const called: string[] = [];
  const forget: (() => void)[] = [];
  onAbort(controller.signal, () => {
    called.push('a');
    for (const go of forget) go();
  });
  forget.push(onAbort(controller.signal, () => called.push('b')));
  controller.abort();
  expect(called).toEqual(['a']);
});
