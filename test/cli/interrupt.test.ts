import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { resultOfBulk } from '../../lib/cli/bulk.ts';
import { stopSignal } from '../../lib/cli/interrupt.ts';
import { createSession } from '../../lib/cli/session.ts';

afterEach(() => vi.restoreAllMocks());

function terminal() {
  const stderr = new PassThrough();
  return { env: {}, stdin: new PassThrough(), stdout: new PassThrough(), stderr };
}

test.each([
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('the first %s asks for an end and says so, the second ends the process with %i', (signal, code) => {
  const before = process.listeners(signal);
  const { stderr } = terminal();
  const abandon = vi.fn();
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  const interrupt = stopSignal({ stderr }, abandon);
  expect(interrupt.endedBy()).toBeUndefined();
  process.emit(signal);
  expect([interrupt.signal.aborted, interrupt.endedBy(), abandon.mock.calls.length]).toEqual([true, code, 0]);
  expect(stderr.read().toString()).toContain(`${signal}: what is in flight ends first`);
  process.emit(signal);
  expect([exit.mock.calls, abandon.mock.calls.length]).toEqual([[[code]], 1]);
  interrupt.end();
  expect(process.listeners(signal)).toEqual(before);
});

test('what was stopped names the whole command that goes on, as a shell takes it [commands-go-on]', () => {
  const args = ['export', '', "s3://b/it's here", '--backend', 'b2', '--json'];
  const { commandLine: again } = createSession(terminal(), args, true);
  expect(again).toBe(`holdfast export '' 's3://b/it'\\''s here' --backend b2 --json`);
  const bulk = { done: 1, same: 0, bytes: 1, problems: [], stopped: { again, exitCode: 143 as const } };
  const { text, exitCode, document } = resultOfBulk('exported', bulk);
  expect(text).toContain(`\`${again}\` goes on from here`);
  expect([exitCode, document]).toEqual([143, expect.objectContaining({ isComplete: false })]);
});
