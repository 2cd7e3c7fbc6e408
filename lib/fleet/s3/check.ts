import { bodyOf, collect } from '../../base/bytes.ts';
import type { Ids } from '../../base/ids.ts';
import { type Backend, BackendError, type PutRequest } from '../backend.ts';
import type { BackendErrorKind } from '../errors.ts';
import type { S3Connection } from './connection.ts';

/** What the checks of one run share. */
export interface Check {
  readonly s3: S3Connection;
  readonly backend: Backend;
  readonly ids: Ids;
  /** Of this run, below the prefix for checks. */
  readonly folder: string;
  /** Storage keys that may hold something, and go at the end. */
  readonly written: Set<string>;
  readonly signal: AbortSignal | undefined;
}

/** A storage key of this run, like those that objects have: none of them is a folder of another. */
export function keyOf(check: Check, name: string): string {
  const storageKey = `${check.folder}${name}!${check.ids.ulid()}`;
  check.written.add(storageKey);
  return storageKey;
}

/**
 * The kind a request was refused with, undefined when it was not. What is not answered, or answered with an error of the
 * server, is a refusal as well while an ordinary write still works. A backend that cannot be asked at all is an error.
 */
export async function refusal(check: Check, attempt: () => Promise<unknown>): Promise<BackendErrorKind | undefined> {
  try {
    await attempt();
    return undefined;
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (error.speaksOf !== 'object' && error.speaksOf !== 'unclear') throw error;
    const isDoubtful = error.isUnanswered || error.kind === 'no-bucket';
    if (isDoubtful && !(await worksOtherwise(check))) throw error;
    return error.kind;
  }
}

/** What a check finds; `false` where something that it takes is refused. */
export async function found<T>(check: Check, run: () => Promise<T>): Promise<T | false> {
  let result: T | false = false;
  await refusal(check, async () => {
    result = await run();
  });
  return result;
}

async function worksOtherwise(check: Check): Promise<boolean> {
  const { backend, signal } = check;
  try {
    const storageKey = keyOf(check, 'control');
    await backend.put(small(storageKey, 'x'), signal);
    return (await collect((await backend.get(storageKey, {}, signal)).body)).toString() === 'x';
  } catch (error) {
    if (error instanceof BackendError) return false;
    throw error;
  }
}

/** What stands at a key; undefined where nothing does. */
export async function textAt(check: Check, storageKey: string): Promise<string | undefined> {
  const { backend, signal } = check;
  const text = await found(check, async () =>
    (await collect((await backend.get(storageKey, {}, signal)).body)).toString(),
  );
  return text === false ? undefined : text;
}

export function small(storageKey: string, text: string, more: Partial<PutRequest> = {}): PutRequest {
  const bytes = Buffer.from(text);
  return { storageKey, sizeBytes: bytes.length, body: bodyOf(bytes), ...more };
}
