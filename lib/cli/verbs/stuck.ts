import { listStuck, type Retried, retry, type StuckObject } from '../../operations/stuck.ts';
import { UsageError } from '../failure.ts';
import { bytes, escaped, plural, timestamp } from '../format.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

/** `stuck`, `retry`: objects that every backend refuses. */
export const stuckVerbs: VerbGroup = (program, verb) => {
  verb(program.command('stuck').description('objects that every backend refuses, and why each does'), list);
  verb<{ readonly all?: boolean }>(
    program
      .command('retry')
      .argument('[key]')
      .description('try an object again at once that backends refused')
      .option('--all', 'every stuck object'),
    tryAgain,
  );
};

async function list(session: Session): Promise<Result> {
  await fleetNow(session);
  const objects = await listStuck(session.process());
  return { text: objects.length === 0 ? 'nothing is stuck' : objects.map(describe).join('\n'), document: objects };
}

function describe({ key, sizeBytes, backends, since, reasons }: StuckObject): string {
  const lines = Object.entries(reasons).map(([backend, { leg, cause, message, attempts, nextTryAt }]) => {
    const what = leg === 'target' ? `"${backend}" takes no copy` : `the copy on "${backend}" cannot be read`;
    return `  ${what} (${cause}, ${plural(attempts, 'time')}, next at ${timestamp(nextTryAt)}): ${escaped(message)}`;
  });
  const first = `${escaped(key)}  ${bytes(sizeBytes)}  on ${backends.join('+')}  since ${timestamp(since)}`;
  return [first, ...lines].join('\n');
}

const sentences: Readonly<Record<Retried['outcome'], string>> = {
  lifted: 'is tried again in the next tick of the replicator',
  'nothing-refused': 'is refused by no backend',
  'no-object': 'does not exist',
  changed: 'changed meanwhile: ask again',
};

async function tryAgain(session: Session, [key]: Arguments, { all }: { readonly all?: boolean }): Promise<Result> {
  if ((key === undefined) !== (all === true)) throw new UsageError('Name one key, or give --all');
  await fleetNow(session);
  const keys = key === undefined ? (await listStuck(session.process())).map((object) => object.key) : [key];
  const retried: ({ readonly key: string } & Retried)[] = [];
  for (const one of keys) retried.push({ key: one, ...(await retry(session.process(), one)) });
  const isDone = retried.every(({ outcome }) => outcome === 'lifted' || outcome === 'nothing-refused');
  const text = retried.map((one) => `"${escaped(one.key)}" ${sentences[one.outcome]}`).join('\n');
  return {
    text: text === '' ? 'nothing is stuck' : text,
    document: key === undefined ? retried : retried[0],
    exitCode: isDone ? 0 : 1,
  };
}
