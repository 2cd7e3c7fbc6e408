import { createReadStream, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { ChecksumAlgorithm } from './checksums.ts';
import type { BucketPaths } from './disk-layout.ts';
import type { Ids } from './ids.ts';
import type { StoredChecksum } from './payload.ts';
import { compareKeys } from './sorted-keys.ts';
import type { Spooled } from './spool.ts';

/** An open multipart upload, as its file on disk holds it. */
export interface Upload {
  id: string;
  key: string;
  order: number;
  initiatedMs: number;
  headers: Record<string, string>;
  metadata: Record<string, string>;
  tags: Record<string, string>;
  checksumAlgorithm?: ChecksumAlgorithm;
  checksumType?: StoredChecksum['type'];
}

export interface UploadedPart {
  partNumber: number;
  sizeBytes: number;
  etag: string;
  modifiedMs: number;
  checksum?: StoredChecksum;
}

/** The open uploads of one bucket. Each method but `read` runs in one synchronous turn. */
export interface Uploads {
  create(draft: Omit<Upload, 'id' | 'order' | 'initiatedMs'>): Upload;
  find(id: string): Upload | undefined;
  /** By key, then by age. */
  all(): Upload[];
  /** By number. */
  parts(id: string): UploadedPart[];
  putPart(id: string, part: Omit<UploadedPart, 'modifiedMs'>, body: Spooled): UploadedPart;
  read(id: string, parts: readonly UploadedPart[]): AsyncGenerator<Buffer>;
  remove(id: string): void;
  /** Runs one task at a time per upload, so that no part changes under a completion. */
  exclusively<T>(id: string, task: () => Promise<T> | T): Promise<T>;
}

interface Entry {
  upload: Upload;
  parts: Map<number, UploadedPart>;
}

export function openUploads({ clock, ids }: { clock: Clock; ids: Ids }, paths: BucketPaths): Uploads {
  const entries = readEntries(paths);
  const turns = new Map<string, Promise<unknown>>();
  const uploadPath = (id: string) => join(paths.uploads, `${id}.json`);
  const partPath = (id: string, partNumber: number) => join(paths.uploads, `${id}.${partNumber}`);
  const write = (path: string, content: Upload | UploadedPart) => {
    const temporary = join(paths.temporary, ids.next());
    writeFileSync(temporary, JSON.stringify(content));
    renameSync(temporary, path);
  };

  return {
    create(draft) {
      const upload: Upload = { ...draft, id: ids.opaque('upload'), order: ids.order(), initiatedMs: clock.now() };
      write(uploadPath(upload.id), upload);
      entries.set(upload.id, { upload, parts: new Map() });
      return upload;
    },
    find: (id) => entries.get(id)?.upload,
    all: () =>
      [...entries.values()].map(({ upload }) => upload).sort((a, b) => compareKeys(a.key, b.key) || a.order - b.order),
    parts: (id) => [...(entries.get(id)?.parts.values() ?? [])].sort((a, b) => a.partNumber - b.partNumber),
    putPart(id, draft, body) {
      const part: UploadedPart = { ...draft, modifiedMs: clock.now() };
      renameSync(body.toFile(), partPath(id, part.partNumber));
      write(`${partPath(id, part.partNumber)}.json`, part);
      entries.get(id)?.parts.set(part.partNumber, part);
      return part;
    },
    async *read(id, parts) {
      for (const { partNumber } of parts) {
        yield* createReadStream(partPath(id, partNumber), { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
      }
    },
    remove(id) {
      const entry = entries.get(id);
      entries.delete(id);
      // The upload's own file goes first: parts without it are removed at the next start.
      rmSync(uploadPath(id), { force: true });
      for (const partNumber of entry?.parts.keys() ?? []) {
        rmSync(partPath(id, partNumber), { force: true });
        rmSync(`${partPath(id, partNumber)}.json`, { force: true });
      }
    },
    async exclusively(id, task) {
      const turn = (turns.get(id) ?? Promise.resolve()).then(task);
      const settled = turn
        .catch(() => {})
        .then(() => {
          if (turns.get(id) === settled) turns.delete(id);
        });
      turns.set(id, settled);
      return turn;
    },
  };
}

function readEntries(paths: BucketPaths): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const names = readdirSync(paths.uploads);
  for (const name of names) {
    const match = /^([0-9a-f]+)\.json$/.exec(name);
    if (match) {
      const upload = JSON.parse(readFileSync(join(paths.uploads, name), 'utf8')) as Upload;
      entries.set(upload.id, { upload, parts: new Map() });
    }
  }
  for (const name of names) {
    const match = /^([0-9a-f]+)\.(\d+)(\.json)?$/.exec(name);
    if (!match) continue;
    const entry = entries.get(match[1] as string);
    const path = join(paths.uploads, name);
    const isWhole = match[3] ? existsSync(path.slice(0, -'.json'.length)) : existsSync(`${path}.json`);
    if (!entry || !isWhole) rmSync(path, { force: true });
    else if (match[3]) {
      const part = JSON.parse(readFileSync(path, 'utf8')) as UploadedPart;
      entry.parts.set(part.partNumber, part);
    }
  }
  return entries;
}
