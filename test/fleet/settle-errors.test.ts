import { expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { type Backend, BackendError, type BackendErrorKind } from '../../lib/fleet/backend.ts';
import { errorTable } from '../../lib/fleet/errors.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import { createAskOwner, type OwnerQuestion, settleErrors } from '../../lib/fleet/settle-errors.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { createManualClock, type Hook, hooked } from '../support/fleet.ts';

const kinds = Object.keys(errorTable) as BackendErrorKind[];
const of = (speaksOf: string) => kinds.filter((kind) => errorTable[kind].speaksOf === speaksOf);

/** A backend with an owner object and the object `k`, whose calls a test may refuse. */
async function kit(more: { readonly hasOwnKeys?: boolean } = {}) {
  const clock = createManualClock();
  const memory = createMemoryBackend({ name: 'a', clock });
  for (const storageKey of [ownerKey, 'k'])
    await memory.put({ storageKey, sizeBytes: 1, body: bodyOf(Buffer.from('x')) });
  const on = {
    before: undefined as Hook | undefined,
    failures: 0,
    questions: [] as OwnerQuestion[],
    clock,
    backend: undefined as unknown as Backend,
  };
  const raw: Backend = hooked(
    'a',
    memory as Backend,
    () => on.before,
    () => undefined,
  );
  const askOwner = createAskOwner(async () => raw, { clock });
  on.backend = settleErrors(raw, {
    askOwner: (question) => {
      on.questions.push(question);
      return askOwner(question);
    },
    failed: () => {
      on.failures += 1;
    },
    ...more,
  });
  return on;
}

const isOwner = (args: readonly unknown[]) => args[0] === ownerKey;
const untilAborted = (signal: AbortSignal) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new BackendError('cancelled', 'a', 'It was cancelled')));
  });
const refuse = (kind: BackendErrorKind) => () => {
  throw new BackendError(kind, 'a', `It answers ${kind}`);
};
const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => error as BackendError,
  );

test.each(of('unclear'))('%s for one key speaks of that key while the owner object answers', async (kind) => {
  const on = await kit();
  on.before = ({ args }) => {
    if (!isOwner(args)) refuse(kind)();
  };
  expect(await errorOf(on.backend.put({ storageKey: 'k', sizeBytes: 0, body: bodyOf(Buffer.alloc(0)) }))).toMatchObject(
    { kind, speaksOf: 'object', isCertain: false, countsForBreaker: false },
  );
  expect([on.failures, on.questions]).toEqual([0, ['head']]);
});

test.each(of('unclear'))('%s speaks of the backend where the owner object answers no better', async (kind) => {
  const on = await kit();
  on.before = refuse(kind);
  expect(await errorOf(on.backend.head('k'))).toMatchObject({ kind, speaksOf: 'backend', countsForBreaker: true });
  expect(on.failures).toBe(1);
});

test.each(kinds.filter((kind) => errorTable[kind].speaksOf !== 'unclear'))(
  '%s is clear without asking',
  async (kind) => {
    const on = await kit();
    on.before = refuse(kind);
    const { speaksOf, countsForBreaker } = errorTable[kind];
    expect(await errorOf(on.backend.head('k'))).toMatchObject({ kind, speaksOf, isCertain: true });
    expect([on.questions, on.failures]).toEqual([[], countsForBreaker === 'always' ? 1 : 0]);
  },
);

test('a missing owner object speaks of the backend [owner-object-settles]', async () => {
  const on = await kit();
  await on.backend.delete([{ storageKey: ownerKey }]);
  on.before = ({ method }) => {
    if (method === 'put') refuse('unavailable')();
  };
  const put = on.backend.put({ storageKey: 'k', sizeBytes: 0, body: bodyOf(Buffer.alloc(0)) });
  expect(await errorOf(put)).toMatchObject({ speaksOf: 'backend' });
});

test('a backend that answers HEAD and stalls on every body is found by reading its owner object', async () => {
  const on = await kit();
  on.before = ({ method }) => {
    if (method === 'get') refuse('timeout')();
  };
  expect(await errorOf(on.backend.get('k'))).toMatchObject({ speaksOf: 'backend' });
  expect(on.questions).toEqual(['get']);
});

test('a body that breaks off is settled as the request is', async () => {
  const on = await kit();
  const { body } = await on.backend.get('k');
  const broken = settleErrors(
    {
      ...on.backend,
      get: async () => ({
        sizeBytes: 1,
        etag: '',
        headers: {},
        metadata: {},
        body: (async function* () {
          yield* body;
          throw new BackendError('truncated', 'a', 'no more');
        })(),
      }),
    },
    { askOwner: async () => 'answers', failed: () => {} },
  );
  expect(await errorOf(broken.get('k').then((found) => collect(found.body)))).toMatchObject({
    kind: 'truncated',
    speaksOf: 'object',
  });
});

test('the error that a deletion answers about one key is settled too', async () => {
  const on = await kit();
  const failed = { outcome: 'failed', error: new BackendError('denied', 'a', '403') } as const;
  const backend = settleErrors(
    { ...on.backend, delete: async () => [{ outcome: 'deleted' }, failed] },
    { askOwner: async () => 'answers', failed: () => {} },
  );
  const outcomes = await backend.delete([{ storageKey: 'j' }, { storageKey: 'k' }]);
  expect(outcomes).toMatchObject([{ outcome: 'deleted' }, { error: { kind: 'denied', speaksOf: 'object' } }]);
});

test.each(['throttled', 'cancelled'] as const)('nobody is to blame where the owner object is %s', async (kind) => {
  const on = await kit();
  on.before = ({ args }) => refuse(isOwner(args) ? kind : 'unavailable')();
  expect(await errorOf(on.backend.head('k'))).toMatchObject({ speaksOf: 'unclear', countsForBreaker: false });
  expect(on.failures).toBe(0);
});

test('keys for deleting alone, refused, are not an outage of the backend', async () => {
  const on = await kit({ hasOwnKeys: true });
  on.before = ({ args }) => {
    if (!isOwner(args)) refuse('credentials')();
  };
  expect(await errorOf(on.backend.head('k'))).toMatchObject({ kind: 'credentials', speaksOf: 'object' });
  expect(on.failures).toBe(0);
});

test('an owner object that does not answer in time does not answer', async () => {
  const on = await kit();
  on.before = ({ args }) => (isOwner(args) ? untilAborted(args[1] as AbortSignal) : refuse('unavailable')());
  const settled = errorOf(on.backend.head('k'));
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  on.clock.advance(60_000);
  expect(await settled).toMatchObject({ speaksOf: 'backend' });
});

test('failures of one moment share a question, and each question is asked after the failure it settles', async () => {
  const clock = createManualClock();
  const answers: ((isThere: boolean) => void)[] = [];
  const backend = { head: () => new Promise((resolve) => answers.push((is) => resolve(is ? {} : null))) };
  const askOwner = createAskOwner(async () => backend as unknown as Backend, { clock });
  const pause = () => new Promise(setImmediate);
  const first = askOwner('head');
  await pause();
  const later = [askOwner('head'), askOwner('head')];
  await pause();
  expect(answers).toHaveLength(1);
  answers[0]!(true);
  expect(await first).toBe('answers');
  await pause();
  expect(answers).toHaveLength(2);
  answers[1]!(false);
  expect(await Promise.all(later)).toEqual(['fails', 'fails']);
});
