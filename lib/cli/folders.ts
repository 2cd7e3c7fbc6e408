import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import mime from 'mime';
import type { ObjectSummary } from '../client/client.ts';
import type { PutOptions } from '../client/put.ts';
import { isPartial } from '../client/write-file.ts';
import { digestOf } from '../transfer/verify.ts';
import { type Bulk, runBulk, type Step } from './bulk.ts';
import { exportFolder } from './export-manifest.ts';
import { CommandError, fileProblem } from './failure.ts';
import { kindOf, makeFolder, makeFolders, placeOfKey, standingAt } from './place-file.ts';
import { type Selection, select, totalOf } from './select-keys.ts';
import type { Session } from './session.ts';
import { fileBody, writeWhole } from './spool.ts';

/** Small files are waited for far more than they are worked on. */
const concurrency = 16;

/** What stands below a folder: `entry` no folder · `problem` what cannot be looked into, and why. */
type Found =
  | {
      readonly outcome: 'entry';
      readonly path: string;
      /** Below the folder, with slashes. */
      readonly name: string;
    }
  | { readonly outcome: 'problem'; readonly path: string; readonly why: string };

/** Puts every file below a folder; what is there with the same content is passed over. */
export async function putFolder(session: Session, folder: string, prefix: string, options: PutOptions): Promise<Bulk> {
  await assertFolder(folder);
  if (existsSync(join(folder, exportFolder)))
    session.log().warn('What an export keeps for itself is passed over', { folder: join(folder, exportFolder) });
  const client = session.client();
  const putOne = async (entry: Found): Promise<Step> => {
    if (entry.outcome === 'problem') return entry;
    const { path, name } = entry;
    const found = await lstat(path);
    if (found.isSymbolicLink()) return { outcome: 'problem', why: 'it is a symbolic link, which is not followed' };
    if (!found.isFile()) return { outcome: 'problem', why: `it is ${kindOf(found)}` };
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
  const client = session.client();
  await makeFolder(folder);
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

/** In the order of the names' bytes. What an export keeps for itself is no content. */
async function* filesBelow(folder: string, above: string): AsyncGenerator<Found> {
  const listed = await readdir(join(folder, above), { withFileTypes: true, encoding: 'buffer' }).catch(
    (error: unknown) => ({ why: `Cannot read the folder: ${fileProblem(error)}` }),
  );
  if ('why' in listed) {
    yield { outcome: 'problem', path: join(folder, above), ...listed };
    return;
  }
  for (const entry of listed.sort((a, b) => Buffer.compare(a.name, b.name))) {
    const name = above + entry.name.toString();
    const path = join(folder, name);
    if (name === exportFolder) continue;
    // Under another name it would be another file.
    if (!isUtf8(entry.name)) yield { outcome: 'problem', path, why: 'its name is not UTF-8' };
    else if (isPartial(entry.name.toString()))
      yield { outcome: 'problem', path, why: 'it is what a command that was killed left of a file' };
    else if (entry.isDirectory()) yield* filesBelow(folder, `${name}/`);
    else yield { outcome: 'entry', path, name };
  }
}

async function totalBelow(folder: string): Promise<{ count: number; bytes: number }> {
  let count = 0;
  let bytes = 0;
  for await (const { path } of filesBelow(folder, '')) {
    count += 1;
    bytes += await lstat(path).then(
      ({ size }) => size,
      () => 0,
    );
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
