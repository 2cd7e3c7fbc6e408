import { once } from 'node:events';
import { storageKey } from '../../store/keys.ts';
import { CommandError, UsageError } from '../failure.ts';
import { bytes, escaped, plural, table, timestamp } from '../format.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';
import { fileBody, spooled, writeWhole } from '../spool.ts';
import { type PutFlags, putOptions } from './put-flags.ts';

/** `put`, `get`, `rm`, `ls`, `locate`: the library from the command line. */
export const objectVerbs: VerbGroup = (program, verb) => {
  verb<PutFlags>(
    program
      .command('put <key> [file]')
      .description('store a file, or stdin, under a key')
      .option('--content-type <type>', 'content type')
      .option('--meta <name=value...>', 'user metadata'),
    put,
  );
  verb(program.command('get <key> [file]').description('read an object into a file, or to stdout; verified'), get);
  verb(program.command('rm <key>').description('delete an object'), rm);
  verb(program.command('ls [prefix]').description('list objects in key order'), ls);
  verb(program.command('locate <key>').description('show where the copies of an object are'), locate);
};

async function put(session: Session, [key, file]: Arguments, flags: PutFlags): Promise<Result> {
  const options = putOptions(flags);
  const isStdin = file === undefined || file === '-';
  const body = isStdin ? await spooled(session, session.stdin) : await fileBody(session, file);
  const done = await session.client().put(key!, body, options);
  return { text: `put ${escaped(done.key)}  ${bytes(done.sizeBytes)}  sha256 ${done.sha256}`, document: done };
}

async function get(session: Session, [key, file]: Arguments): Promise<Result> {
  const isStdout = file === undefined || file === '-';
  if (isStdout && session.isJson) throw new UsageError('get --json needs a file: stdout carries the document');
  if (!isStdout) {
    const object = await session.client().read(key!, async ({ body, ...known }) => {
      await writeWhole(session, file, body);
      return known;
    });
    if (object === null) throw absent(key!);
    return {
      text: `got ${escaped(object.key)}  ${bytes(object.sizeBytes)}  to ${file}`,
      document: { ...object, file },
    };
  }
  const object = await session.client().get(key!);
  if (object === null) throw absent(key!);
  for await (const chunk of object.body) if (!session.stdout.write(chunk)) await once(session.stdout, 'drain');
  return { text: '', document: null };
}

async function rm(session: Session, [key]: Arguments): Promise<Result> {
  const deleted = await session.client().delete(key!);
  return {
    text: deleted ? `deleted ${escaped(key!)}` : `there was no object ${escaped(key!)}`,
    document: { key, deleted },
  };
}

async function ls(session: Session, [prefix]: Arguments): Promise<Result> {
  const rows: [string, string, string][] = [];
  const document: { key: string; sizeBytes: number; generation: string }[] = [];
  for await (const { key, sizeBytes, generation, createdAt } of session.client().list(prefix ?? '')) {
    if (session.isJson) document.push({ key, sizeBytes, generation });
    else rows.push([bytes(sizeBytes), timestamp(createdAt), escaped(key)]);
  }
  const text = rows.length === 0 ? 'no objects' : table(['SIZE', 'CREATED (UTC)', 'KEY'], rows);
  return { text, document };
}

async function locate(session: Session, [key]: Arguments): Promise<Result> {
  const { config } = await fleetNow(session);
  const entry = (await session.process().store.objects([key!])).get(key!);
  if (entry?.kind !== 'object') throw absent(key!);
  const { generation, rev, sizeBytes, sha256, condition } = entry;
  const copies = Object.entries(entry.copies)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([backend, copyId]) => {
      const prefix = config.fingerprints[backend]?.prefix ?? '';
      return { backend, copyId, storageKey: prefix + storageKey(entry.key, copyId) };
    });
  const document = {
    key,
    generation,
    rev,
    sizeBytes,
    sha256: sha256 ?? null,
    damaged: condition === 'damaged',
    copies,
  };
  const rows = copies.map(({ backend, storageKey: at }) => [
    backend,
    config.fingerprints[backend]?.bucket ?? '-',
    escaped(at),
  ]);
  const first = `${escaped(entry.key)}  ${bytes(sizeBytes)}  generation ${generation}  rev ${rev}${condition === 'sound' ? '' : `  ${condition.toUpperCase()}`}`;
  const hash = sha256 === undefined ? 'sha256 not known yet' : `sha256 ${sha256}`;
  const text = `${first}\n${hash}\n${plural(copies.length, 'copy').replace('copys', 'copies')}\n\n${table(['BACKEND', 'BUCKET', 'STORAGE KEY'], rows)}`;
  return { text, document };
}

function absent(key: string): CommandError {
  return new CommandError('not-found', `There is no object "${escaped(key)}"`);
}
