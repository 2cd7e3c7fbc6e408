import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import mime from 'mime';
import type { ObjectSummary } from '../client/client.ts';
import type { PutOptions } from '../client/put.ts';
import { digestOf } from '../transfer/verify.ts';
import { type Bulk, runBulk, type Step } from './bulk.ts';
import { exportFolder } from './export-manifest.ts';
import { CommandError, fileProblem } from './failure.ts';
import { makeFolders, placeOfKey, standingAt } from './place-file.ts';
import { type Selection, select, totalOf } from './select-keys.ts';
import type { Session } from './session.ts';
import { fileBody, writeWhole } from './spool.ts';

/** Small files are waited for far more than they are worked on. */
const concurrency = 16;

interface FoundFile {
  readonly path: string;
  /** Below the folder, with slashes. */
  readonly name: string;
}

/** Puts every file below a folder; what is there with the same content is passed over. */
export async function putFolder(session: Session, folder: string, prefix: string, options: PutOptions): Promise<Bulk> {
  await assertFolder(folder);
  const client = session.client();
  const putOne = async ({ path, name }: FoundFile): Promise<Step> => {
    const found = await lstat(path);
    if (!found.isFile()) return { outcome: 'problem', why: 'it is no regular file' };
    if (name.includes('\ufffd')) return { outcome: 'problem', why: 'its name is not UTF-8' };
    const key = prefix + name;
    const before = await client.head(key);
    const isSame =
      before?.sizeBytes === found.size && before.sha256 !== undefined && before.sha256 === (await hashOf(path));
    if (isSame) return { outcome: 'same', sizeBytes: found.size };
    const contentType = options.headers?.contentType ?? mime.getType(name) ?? 'application/octet-stream';
    const done = await client.put(key, await fileBody(session, path), { ...options, headers: { contentType } });
    return { outcome: 'done', sizeBytes: done.sizeBytes };
  };
  return runBulk(session, {
    items: filesBelow(folder, ''),
    total: totalBelow(folder),
    concurrency,
    nameOf: ({ path }) => path,
    step: putOne,
  });
}

/** Gets every object of a selection into a folder; a file with the same content is passed over. */
export async function getFolder(session: Session, selection: Selection, folder: string): Promise<Bulk> {
  await mkdir(folder, { recursive: true });
  const client = session.client();
  const getOne = async ({ key, sizeBytes, sha256 }: ObjectSummary): Promise<Step> => {
    const name = key.slice(selection.folder.length);
    const place = placeOfKey(folder, name);
    if (place.outcome === 'no-name') return { outcome: 'problem', why: place.why };
    const inTheWay = await makeFolders(folder, name);
    if (inTheWay !== null) return { outcome: 'problem', why: inTheWay };
    const standing = await standingAt(place.path);
    if (standing.outcome === 'other')
      return { outcome: 'problem', why: `"${place.path}" is ${standing.what}, which is not written over` };
    const mayBeSame = standing.outcome === 'file' && standing.sizeBytes === sizeBytes && sha256 !== undefined;
    if (mayBeSame && (await hashOf(place.path)) === sha256) return { outcome: 'same', sizeBytes };
    const got = await client.read(key, async ({ body, sizeBytes: size }) => {
      await writeWhole(session, place.path, body);
      return size;
    });
    return got === null ? { outcome: 'problem', why: 'it was deleted meanwhile' } : { outcome: 'done', sizeBytes: got };
  };
  return runBulk(session, {
    items: select(client, selection),
    total: totalOf(client, selection),
    concurrency,
    nameOf: ({ key }) => key,
    step: getOne,
  });
}

/** Deletes every object of a selection. */
export async function removeMany(session: Session, selection: Selection): Promise<Bulk> {
  const client = session.client();
  return runBulk(session, {
    items: select(client, selection),
    concurrency,
    nameOf: ({ key }) => key,
    step: async ({ key, sizeBytes }) => {
      const wasThere = await client.delete(key);
      return { outcome: wasThere ? 'done' : 'same', sizeBytes };
    },
  });
}

async function assertFolder(folder: string): Promise<void> {
  try {
    if ((await lstat(join(folder, '.'))).isDirectory()) return;
  } catch (error) {
    throw new CommandError('file', `Cannot read "${folder}": ${fileProblem(error)}`);
  }
  throw new CommandError('file', `Cannot read "${folder}": it is no folder`);
}

/** In name order; symbolic links are named and not followed. What an export keeps for itself is no content. */
async function* filesBelow(folder: string, above: string): AsyncGenerator<FoundFile> {
  const entries = await readdir(join(folder, above), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = above + entry.name;
    if (name === exportFolder) continue;
    if (entry.isDirectory()) yield* filesBelow(folder, `${name}/`);
    else yield { path: join(folder, name), name };
  }
}

async function totalBelow(folder: string): Promise<{ count: number; bytes: number }> {
  let count = 0;
  let bytes = 0;
  for await (const { path } of filesBelow(folder, '')) {
    count += 1;
    bytes += (await lstat(path)).size;
  }
  return { count, bytes };
}

export async function hashOf(path: string): Promise<string> {
  return (await digestOf(createReadStream(path))).sha256;
}

/** The hash of a name: a name of its own where that one cannot be had. */
export function nameHash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
