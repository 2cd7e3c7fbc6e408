import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Holdfast, ObjectSummary } from '../client/client.ts';
import type { GetObject } from '../client/get.ts';
import { FolderInUse, lockFolder } from '../local/folder-lock.ts';
import { digestOf } from '../transfer/verify.ts';
import { type Exported, exportFolder, lineOf, parseManifest } from './export-manifest.ts';
import type { ExportStep, ExportTarget } from './export-work.ts';
import { CommandError, fileProblem } from './failure.ts';
import { hashOf, nameHash } from './folders.ts';
import { foldsCase, makeFolder, makeFolders, placeOfKey, standingAt } from './place-file.ts';
import type { Session } from './session.ts';
import { writeWhole } from './spool.ts';

/** Objects whose key is no name of a file go here, named by its hash: nothing is left behind. */
const oddFolder = `${exportFolder}/odd`;
/** What is not whole yet: an export that is killed leaves nothing among the files themselves. */
const partialFolder = `${exportFolder}/partial`;

/** A folder to export to. Throws `CommandError` where it cannot be one. */
export async function folderTarget(session: Session, folder: string): Promise<ExportTarget> {
  try {
    await makeFolder(folder);
    const inTheWay = await makeFolders(folder, `${oddFolder}/x`);
    if (inTheWay !== null) throw new Error(inTheWay);
    // Of two at once, each would write a manifest without what the other one brought.
    const unlock = lockFolder(join(folder, exportFolder));
    session.atEnd(unlock);
    await rm(join(folder, partialFolder), { recursive: true, force: true });
    await mkdir(join(folder, partialFolder));
    const path = join(folder, exportFolder, 'manifest.jsonl');
    const standing = await standingAt(path);
    if (standing.outcome === 'other') throw new Error(`"${path}" is ${standing.what}`);
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const manifest = parseManifest(text);
    const file = await open(path, 'a');
    // A line that a crash cut short is ended, so that it spoils no other.
    if (text !== '' && !text.endsWith('\n')) await file.write('\n');
    const exporter = { session, client: session.client(), folder, names: await namesIn(folder, manifest) };
    return {
      name: folder,
      manifest,
      bring: (object, before) => bring(exporter, object, before),
      async note(exported) {
        manifest.set(exported.key, exported);
        await file.write(lineOf(exported));
      },
      async close() {
        await closeManifest(path, file, manifest);
        await rm(join(folder, partialFolder), { recursive: true, force: true });
      },
    };
  } catch (error) {
    if (error instanceof FolderInUse)
      throw new CommandError('in-use', `Cannot export to "${folder}": ${error.message}`);
    if (error instanceof CommandError || (error as { kind?: unknown }).kind !== undefined) throw error;
    throw new CommandError('file', `Cannot export to "${folder}": ${fileProblem(error)}`);
  }
}

interface Exporter {
  readonly session: Session;
  readonly client: Holdfast;
  readonly folder: string;
  readonly names: Names;
}

/** Names that would be one on a file system that folds case, or composes letters. */
interface Names {
  /** The folder itself takes them for one. */
  readonly folds: boolean;
  /** The key that has this name already, in another spelling. */
  other(key: string): string | undefined;
}

async function namesIn(folder: string, manifest: ReadonlyMap<string, Exported>): Promise<Names> {
  const folded = new Map<string, string>();
  const fold = (key: string) => key.normalize('NFC').toLowerCase();
  for (const { key, name } of manifest.values()) if (name === key && !folded.has(fold(key))) folded.set(fold(key), key);
  return {
    folds: await foldsCase(folder),
    other(key) {
      const first = folded.get(fold(key));
      if (first === undefined) folded.set(fold(key), key);
      return first === key ? undefined : first;
    },
  };
}

async function bring(exporter: Exporter, object: ObjectSummary, before: Exported | undefined): Promise<ExportStep> {
  const { folder, names } = exporter;
  const { key } = object;
  const named = await nameFor(folder, key);
  const alike = names.other(key);
  if (named.outcome === 'problem') return bringOdd(exporter, object, before, named.why);
  if (alike !== undefined && names.folds)
    return bringOdd(exporter, object, before, `"${alike}" has the same name here`);
  try {
    const step = await write(exporter, object, before, key);
    if (alike === undefined || step.outcome === 'problem') return step;
    const why = `it is there, and differs from "${alike}" in case or composition alone: other file systems hold one of them`;
    return { ...step, outcome: 'problem', why, isDone: true };
  } catch (error) {
    // Of a file and a folder of one name, brought side by side, one came first.
    const now = await nameFor(folder, key);
    if (now.outcome === 'name') throw error;
    return bringOdd(exporter, object, before, now.why);
  }
}

async function bringOdd(
  exporter: Exporter,
  object: ObjectSummary,
  before: Exported | undefined,
  why: string,
): Promise<ExportStep> {
  const name = `${oddFolder}/${nameHash(object.key)}`;
  const step = await write(exporter, object, before, name);
  if (step.outcome === 'problem') return step;
  return { ...step, outcome: 'problem', why: `${why}; it is in "${name}"`, isDone: true };
}

type Named = { readonly outcome: 'name' } | { readonly outcome: 'problem'; readonly why: string };

/** Whether a key can be the name of its file. */
async function nameFor(folder: string, key: string): Promise<Named> {
  const problem = (why: string): Named => ({ outcome: 'problem', why });
  const place = placeOfKey(folder, key);
  if (place.outcome === 'no-name') return problem(place.why);
  if (key === exportFolder || key.startsWith(`${exportFolder}/`))
    return problem('the export keeps its own files there');
  const inTheWay = await makeFolders(folder, key);
  if (inTheWay !== null) return problem(inTheWay);
  const standing = await standingAt(place.path);
  return standing.outcome === 'other' ? problem(`"${place.path}" is ${standing.what}`) : { outcome: 'name' };
}

async function write(
  { session, client, folder }: Exporter,
  object: ObjectSummary,
  before: Exported | undefined,
  name: string,
): Promise<ExportStep> {
  const { key, generation, sizeBytes } = object;
  const path = join(folder, name);
  const standing = await standingAt(path);
  // It came there since the name was looked at.
  if (standing.outcome === 'other') throw new Error(`"${path}" is ${standing.what}`);
  const isOurs =
    standing.outcome === 'file' &&
    before?.name === name &&
    before.sizeBytes === standing.sizeBytes &&
    before.mtimeMs === standing.mtimeMs;
  if (isOurs && before.generation === generation) return { outcome: 'same', sizeBytes };
  const found = standing.outcome === 'nothing' ? undefined : await hashOf(path);
  const mayWrite = found === undefined || isOurs || before?.sha256 === found;
  const got = await client.read(key, async (content) => {
    if (mayWrite) return { content, ...(await writeIt(session, path, content, join(folder, partialFolder))) };
    const { sha256 } = await digestOf(content.body);
    return { content, sha256, isWritten: sha256 === found };
  });
  if (got === null) return { outcome: 'problem', why: 'it was deleted meanwhile' };
  if (!got.isWritten) return { outcome: 'problem', why: `"${path}" is another file, which this export did not write` };
  const { content, sha256 } = got;
  const { mtimeMs } = await stat(path);
  const { headers, metadata } = content;
  const exported = {
    key,
    name,
    generation: content.generation,
    sizeBytes: content.sizeBytes,
    sha256,
    headers,
    metadata,
    mtimeMs,
  };
  return { outcome: mayWrite ? 'done' : 'same', sizeBytes: content.sizeBytes, exported };
}

/** Read back: what the disk holds is what the manifest says. */
async function writeIt(session: Session, path: string, { body, sha256 }: GetObject, partial: string) {
  await writeWhole(session, path, body, partial);
  const written = await hashOf(path);
  if (sha256 !== undefined && written !== sha256) throw new Error(`"${path}" does not read back as it was written`);
  return { sha256: written, isWritten: true };
}

/** One line for each object, in key order. */
async function closeManifest(path: string, file: FileHandle, manifest: ReadonlyMap<string, Exported>): Promise<void> {
  await file.sync();
  await file.close();
  await rm(`${path}.new`, { force: true });
  const whole = await open(`${path}.new`, 'wx');
  for (const key of [...manifest.keys()].sort()) await whole.write(lineOf(manifest.get(key)!));
  await whole.sync();
  await whole.close();
  await rename(`${path}.new`, path);
}
