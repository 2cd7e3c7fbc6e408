import type { ObjectRecord } from '../../../lib/store/model.ts';
import { Violation } from '../oracle/violation.ts';
import type { Stage } from './stage.ts';

/** An object on two backends, and the one of them that readers come to first. */
async function readFirst(
  stage: Stage,
): Promise<{ readonly record: ObjectRecord; readonly backend: string } | undefined> {
  const { actors, settle } = stage;
  if (!(await stage.isReady())) return undefined;
  await stage.apply(stage.roomyFile(2));
  const record = await stage.putNew(2, 80);
  if (record === undefined) return undefined;
  const client = actors.startClient();
  actors.read(client, record.key);
  await settle();
  const backend = Object.keys(record.copies).find((name) => client.actor.calls.has(`${name} GET`));
  actors.close(client);
  await settle();
  return backend === undefined ? undefined : { record, backend };
}

/** Each reader is given what was put: one who can begin again, in the same call. */
async function readTwice({ actors, settle }: Stage, { key }: ObjectRecord): Promise<void> {
  const before = actors.failures.length;
  for (const wholeBytes of [50, Number.POSITIVE_INFINITY]) {
    const client = actors.startClient(wholeBytes);
    actors.read(client, key);
    await settle();
    actors.close(client);
    await settle();
  }
  const failure = actors.failures[before];
  if (failure !== undefined)
    throw new Violation('5 what callers were told', `Another copy is good, and yet: ${failure}`, key);
}

/** The copy that readers come to first has rotted. */
export async function firstCopyRotten(stage: Stage): Promise<boolean> {
  const first = await readFirst(stage);
  if (first === undefined) return false;
  stage.rot(first.record, first.backend);
  await readTwice(stage, first.record);
  return true;
}

/** Somebody has put it there again, with other headers. */
export async function firstCopyOtherHeaders(stage: Stage): Promise<boolean> {
  const first = await readFirst(stage);
  if (first === undefined) return false;
  const { record, backend } = first;
  const storageKey = stage.storageOf(record, backend);
  const existing = stage.bucket(backend).peek(storageKey)!;
  stage.oracle.bytesHarmed(backend, storageKey);
  stage.bucket(backend).putNow(storageKey, existing.bytes, { ...existing, headers: { contentType: 'text/x-theirs' } });
  await readTwice(stage, record);
  return true;
}
