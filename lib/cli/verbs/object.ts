import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import type { Body } from '../../base/bytes.ts';
import type { PutBody } from '../../client/put.ts';
import { storageKey } from '../../store/keys.ts';
import { ask } from '../ask.ts';
import { resultOfBulk } from '../bulk.ts';
import { CommandError, UsageError } from '../failure.ts';
import { getFolder, putFolder, removeMany } from '../folders.ts';
import { bytes, escaped, plural, quoted, table, timestamp } from '../format.ts';
import { wholeNumber } from '../numbers.ts';
import {
  assertSome,
  beginningWith,
  inFolder,
  isPattern,
  matching,
  noneMatches,
  type Selection,
  select,
  totalOf,
} from '../select-keys.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';
import { fileBody, spooled, writeWhole } from '../spool.ts';
import { createTransferLine, watchedContent } from '../transfer-line.ts';
import { type PutFlags, putOptions } from './put-flags.ts';

/** `put`, `get`, `rm`, `ls`, `locate`: the library from the command line. */
export const objectVerbs: VerbGroup = (program, verb) => {
  verb<PutFlags & Recursive>(
    program
      .command('put <key> [file]')
      .usage('[options] <key> [file]\n       holdfast put -r [options] <folder> [prefix]')
      .description('store a file, or stdin, under a key; with -r every file below a folder')
      .option(
        '-r, --recursive',
        'every file below a folder, under a prefix; what is there with the same content is passed over',
      )
      .option('--content-type <type>', 'content type [with -r by the ending of the name]')
      .option('--meta <name=value...>', 'user metadata')
      .option(
        '--copies <n>',
        'backends that must hold it before this returns [putCopies of its policy]',
        wholeNumber(1, 16),
      )
      .option('--if-absent', 'only where there is no such object')
      .option('--if-generation <generation>', 'only over this very generation'),
    put,
  );
  verb<Recursive>(
    program
      .command('get <key> [file]')
      .usage('[options] <key> [file]\n       holdfast get -r [options] <prefix> <folder>')
      .description(
        'read an object into a file, or to stdout; verified; with -r a whole folder, or what a pattern matches',
      )
      .option(
        '-r, --recursive',
        'every object below a prefix, into a folder; files with the same content are passed over',
      ),
    get,
  );
  verb<Recursive & Sure>(
    program
      .command('rm <key>')
      .description('delete an object; with -r, or a pattern, many')
      .option('-r, --recursive', 'every object below a prefix')
      .option('--yes', 'do not ask'),
    rm,
  );
  verb<{ readonly long?: boolean }>(
    program
      .command('ls [prefix]')
      .description('list objects in key order: those that begin with a text, or that a pattern matches')
      .option('-l, --long', 'with hash and backends'),
    ls,
  );
  verb(program.command('locate <key>').description('show where the copies of an object are'), locate);
};

interface Recursive {
  readonly recursive?: boolean;
}

interface Sure {
  readonly yes?: boolean;
}

async function put(session: Session, [key, file]: Arguments, flags: PutFlags & Recursive): Promise<Result> {
  const options = putOptions(flags);
  if (flags.recursive === true) {
    const { prefix } = inFolder(file ?? '');
    return resultOfBulk('put', await putFolder(session, key!, prefix, options));
  }
  const isStdin = file === undefined || file === '-';
  const body = isStdin ? await stdinBody(session) : await fileBody(session, file);
  const line = createTransferLine(session, session.process().clock);
  session.ifBrokenOff(
    `"${escaped(key!)}" was not acknowledged. If all of its bytes have arrived it may take effect within minutes: \`${escaped(['holdfast', 'locate', quoted(key!)].join(' '))}\` shows it then. What arrived in part is removed`,
  );
  const done = await session.client().put(key!, watchedContent(line, body), options).finally(line.end);
  return { text: `put ${escaped(done.key)}  ${bytes(done.sizeBytes)}  sha256 ${done.sha256}`, document: done };
}

/** What comes on stdin. Nothing at all from what is neither a file nor a pipe is a mistake, and must not replace an object. */
async function stdinBody(session: Session): Promise<PutBody> {
  const { stdin, stderr } = session;
  if ('isTTY' in stdin && stdin.isTTY === true)
    stderr.write('Reading the content from this terminal; Ctrl-D ends it\n');
  const body = await spooled(session, stdin);
  if (!(body instanceof Uint8Array) && 'sizeBytes' in body && body.sizeBytes === 0 && !isFileOrPipe(stdin))
    throw new UsageError(
      'Cannot put what is on stdin: it is neither a file nor a pipe; name a file, or /dev/null for an empty object',
    );
  return body;
}

function isFileOrPipe(stdin: Session['stdin']): boolean {
  if (!('fd' in stdin) || typeof stdin.fd !== 'number') return true;
  const found = fstatSync(stdin.fd);
  return found.isFile() || found.isFIFO() || found.isSocket();
}

async function get(session: Session, [key, file]: Arguments, { recursive }: Recursive): Promise<Result> {
  if (recursive === true || (file !== undefined && isPattern(key!) && (await session.client().head(key!)) === null))
    return getMany(session, isPattern(key!) ? matching(key!) : inFolder(key!), key!, file);
  const isStdout = file === undefined || file === '-';
  if (isStdout && session.isJson) throw new UsageError('get --json needs a file: stdout carries the document');
  if (!isStdout) {
    const line = createTransferLine(session, session.process().clock);
    const reading = session.client().read(key!, async ({ body, ...known }) => {
      await writeWhole(session, file, line.watch('getting', body, known.sizeBytes));
      return known;
    });
    const object = await reading.finally(line.end);
    if (object === null) throw absent(key!);
    return {
      text: `got ${escaped(object.key)}  ${bytes(object.sizeBytes)}  to ${file}`,
      document: { ...object, file },
    };
  }
  const object = await session.client().get(key!);
  if (object === null && file === undefined && isPattern(key!))
    throw new UsageError(`There is no object "${escaped(key!)}"; what a pattern matches needs a folder to go to`);
  if (object === null) throw absent(key!);
  const isTerminal = 'isTTY' in session.stdout && session.stdout.isTTY === true;
  const body = file === undefined && isTerminal ? readableOnly(key!, object.body) : object.body;
  for await (const chunk of body) if (!session.stdout.write(chunk)) await once(session.stdout, 'drain');
  return { text: '', document: null };
}

/** Text for a terminal; what would garble it is refused before any of it is written. */
async function* readableOnly(key: string, body: Body): Body {
  let isFirst = true;
  for await (const chunk of body) {
    if (isFirst && isBinary(chunk))
      throw new UsageError(
        `"${escaped(key)}" is not text: name a file for it, or - to write it to this terminal all the same`,
      );
    isFirst = false;
    yield chunk;
  }
}

/** Bytes that no text has; a character that the end of the chunk cut is none of them. */
function isBinary(chunk: Uint8Array): boolean {
  const text = new TextDecoder().decode(chunk, { stream: true });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are the ones that steer a terminal
  return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f\ufffd]/.test(text);
}

async function getMany(
  session: Session,
  selection: Selection,
  asked: string,
  folder: string | undefined,
): Promise<Result> {
  if (folder === undefined || folder === '-') throw new UsageError('get -r needs a folder to write to');
  await assertSome(session.client(), selection, asked);
  const bulk = await getFolder(session, selection, folder);
  return resultOfBulk('got', bulk, { folder });
}

async function rm(session: Session, [key]: Arguments, { recursive, yes }: Recursive & Sure): Promise<Result> {
  const client = session.client();
  if (recursive === true) return rmMany(session, isPattern(key!) ? matching(key!) : inFolder(key!), key!, yes === true);
  const deleted = await client.delete(key!);
  if (!deleted && isPattern(key!)) return rmMany(session, matching(key!), key!, yes === true);
  return {
    text: deleted ? `deleted ${escaped(key!)}` : `there was no object ${escaped(key!)}`,
    document: { key, deleted },
  };
}

async function rmMany(session: Session, selection: Selection, asked: string, isSure: boolean): Promise<Result> {
  const total = await totalOf(session.client(), selection);
  if (total.count === 0) throw noneMatches(asked);
  const what = `${plural(total.count, 'object')} (${bytes(total.bytes)})`;
  const answer = isSure ? 'yes' : await ask(session, `Delete ${what} that "${escaped(asked)}" names? [y/N] `);
  if (answer === 'nobody')
    throw new UsageError('Cannot ask whether to delete many objects: there is no terminal; --yes confirms it');
  if (answer === 'no') {
    return {
      text: 'Nothing was deleted',
      document: { done: 0, same: 0, bytes: 0, problems: [], isComplete: false },
      exitCode: 1,
    };
  }
  return resultOfBulk('deleted', await removeMany(session, selection));
}

async function ls(session: Session, [given]: Arguments, { long }: { readonly long?: boolean }): Promise<Result> {
  const selection = given !== undefined && isPattern(given) ? matching(given) : beginningWith(given ?? '');
  const rows: string[][] = [];
  const document: object[] = [];
  for await (const page of pagesOf(select(session.client(), selection))) {
    const records = long === true ? await session.process().store.objects(page.map(({ key }) => key)) : undefined;
    for (const { key, sizeBytes, generation, createdAt, sha256 } of page) {
      const record = records?.get(key);
      const backends = record?.kind === 'object' ? Object.keys(record.copies).sort() : [];
      const more = long === true ? { createdAt, sha256: sha256 ?? null, backends } : {};
      if (session.isJson) document.push({ key, sizeBytes, generation, ...more });
      else {
        const first = [bytes(sizeBytes), timestamp(createdAt)];
        rows.push([
          ...first,
          ...(long === true ? [(sha256 ?? '-').slice(0, 16), backends.join('+')] : []),
          escaped(key),
        ]);
      }
    }
  }
  const heading = ['SIZE', 'CREATED (UTC)', ...(long === true ? ['SHA-256', 'BACKENDS'] : []), 'KEY'];
  return { text: rows.length === 0 ? 'no objects' : table(heading, rows), document };
}

const pageSize = 100;

async function* pagesOf<T>(items: AsyncIterable<T>): AsyncGenerator<T[]> {
  let page: T[] = [];
  for await (const item of items) {
    page.push(item);
    if (page.length < pageSize) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
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
