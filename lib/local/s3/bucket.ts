import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { type BucketPaths, fileName } from './disk-layout.ts';
import type { Ids } from './ids.ts';
import { openJournal, readJournal } from './journal.ts';
import type { ObjectDraft, ObjectVersion } from './object-version.ts';
import { createSortedKeys, type SortedKeys } from './sorted-keys.ts';
import type { Spooled } from './spool.ts';

export type Versioning = 'Unversioned' | 'Enabled' | 'Suspended';

export interface OpenVersion {
  fd: number;
  sizeBytes: number;
}

/**
 * One bucket: its index in memory, its files on disk. Every method runs in one
 * synchronous turn, so a reader sees all of a write or nothing of it.
 */
export interface Bucket {
  readonly name: string;
  readonly createdMs: number;
  readonly paths: BucketPaths;
  readonly keys: SortedKeys;
  versioning(): Versioning;
  setVersioning(versioning: Versioning): void;
  /** Newest first; empty when there are none. */
  versions(key: string): readonly ObjectVersion[];
  /** The newest version, which may be a delete marker. Looks whether the file is still there. */
  current(key: string): ObjectVersion | undefined;
  version(key: string, versionId: string): ObjectVersion | undefined;
  put(draft: ObjectDraft, body: Spooled): ObjectVersion;
  /** Call it after a change of tags. */
  update(version: ObjectVersion): void;
  /** Without a version id: removes the object, or lays a delete marker over it where versions are kept. */
  remove(key: string): ObjectVersion | undefined;
  removeVersion(version: ObjectVersion): void;
  /** Undefined when somebody has removed the file by hand. */
  open(version: ObjectVersion): OpenVersion | undefined;
  path(version: ObjectVersion): string;
  temporaryPath(): string;
  close(): void;
}

interface BucketState {
  createdMs: number;
  versioning: Versioning;
}

export interface BucketDeps {
  clock: Clock;
  ids: Ids;
  isCaseBlind: boolean;
}

export function openBucket(deps: BucketDeps, name: string, paths: BucketPaths): Bucket {
  for (const path of [paths.objects, paths.uploads, paths.temporary]) mkdirSync(path, { recursive: true });
  const state = readState(deps, paths);
  const index = readIndex(deps, paths);
  const keys = createSortedKeys(index.keys());
  const temporaryPath = () => join(paths.temporary, deps.ids.next());
  const live = () => [...index.values()].flat();
  const journal = openJournal({ path: paths.journal, temporary: temporaryPath(), live });

  const dataPath = ({ key, versionId }: ObjectVersion) =>
    join(paths.objects, fileName(key, versionId, deps.isCaseBlind));

  const add = (version: ObjectVersion) => {
    const others = (index.get(version.key) ?? []).filter((other) => other.versionId !== version.versionId);
    if (others.length === 0) keys.add(version.key);
    index.set(version.key, [version, ...others]);
  };
  const drop = (version: ObjectVersion) => {
    const others = (index.get(version.key) ?? []).filter((other) => other.versionId !== version.versionId);
    if (others.length > 0) {
      index.set(version.key, others);
      return;
    }
    index.delete(version.key);
    keys.remove(version.key);
  };
  const newVersion = (key: string) => {
    const versionId = state.versioning === 'Enabled' ? deps.ids.opaque('version') : 'null';
    return { key, versionId, order: deps.ids.order(), modifiedMs: deps.clock.now() };
  };

  const writeMarker = (key: string): ObjectVersion => {
    const empty = { isDeleteMarker: true, sizeBytes: 0, etag: '', headers: {}, metadata: {}, tags: {} };
    const marker: ObjectVersion = { ...newVersion(key), ...empty };
    journal.append({ put: marker });
    rmSync(dataPath(marker), { force: true });
    add(marker);
    return marker;
  };
  const removeVersion = (version: ObjectVersion) => {
    // The file first: a line without a file is forgotten at the next start, a file without a line would stay.
    if (!version.isDeleteMarker) rmSync(dataPath(version), { force: true });
    const { key, versionId } = version;
    journal.append({ remove: { key, versionId } });
    drop(version);
  };
  const ifStillThere = (version: ObjectVersion | undefined): ObjectVersion | undefined => {
    if (!version || version.isDeleteMarker) return version;
    const stats = statSync(dataPath(version), { throwIfNoEntry: false });
    if (!stats) {
      removeVersion(version);
      return undefined;
    }
    // The file is the truth about its length, however somebody has damaged it.
    version.sizeBytes = stats.size;
    return version;
  };

  return {
    name,
    createdMs: state.createdMs,
    paths,
    keys,
    versioning: () => state.versioning,
    setVersioning(versioning) {
      state.versioning = versioning;
      replaceFile(temporaryPath(), paths.bucket, JSON.stringify(state));
    },
    versions: (key) => index.get(key) ?? [],
    current: (key) => ifStillThere(index.get(key)?.[0]),
    version: (key, versionId) => ifStillThere(index.get(key)?.find((version) => version.versionId === versionId)),
    put(draft, body) {
      const version: ObjectVersion = {
        ...newVersion(draft.key),
        isDeleteMarker: false,
        sizeBytes: body.sizeBytes,
        ...draft,
      };
      const data = body.toFile();
      journal.append({ put: version, from: basename(data) });
      renameSync(data, dataPath(version));
      add(version);
      return version;
    },
    update(version) {
      journal.append({ put: version });
    },
    remove(key) {
      if (state.versioning !== 'Unversioned') return writeMarker(key);
      const version = index.get(key)?.[0];
      if (version) removeVersion(version);
      return undefined;
    },
    removeVersion,
    open(version) {
      try {
        const fd = openSync(dataPath(version), 'r');
        return { fd, sizeBytes: fstatSync(fd).size };
      } catch {
        return undefined;
      }
    },
    path: dataPath,
    temporaryPath,
    close: () => journal.close(),
  };
}

/** Closes what `open` has opened. */
export function closeVersion(opened: OpenVersion): void {
  closeSync(opened.fd);
}

function readState(deps: BucketDeps, paths: BucketPaths): BucketState {
  if (existsSync(paths.bucket)) return JSON.parse(readFileSync(paths.bucket, 'utf8')) as BucketState;
  const state: BucketState = { createdMs: deps.clock.now(), versioning: 'Unversioned' };
  replaceFile(join(paths.temporary, deps.ids.next()), paths.bucket, JSON.stringify(state));
  return state;
}

function replaceFile(temporary: string, path: string, text: string): void {
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

/** Brings the files and the journal to agreement. */
function readIndex(deps: BucketDeps, paths: BucketPaths): Map<string, ObjectVersion[]> {
  const index = new Map<string, ObjectVersion[]>();
  const unfinished = new Set(readdirSync(paths.temporary));
  const files = new Set(readdirSync(paths.objects));
  for (const { put: version, from } of readJournal(paths.journal)) {
    const name = fileName(version.key, version.versionId, deps.isCaseBlind);
    if (from !== undefined && unfinished.has(from)) {
      renameSync(join(paths.temporary, from), join(paths.objects, name));
      files.add(name);
    }
    if (!version.isDeleteMarker && !files.has(name)) continue;
    const others = index.get(version.key);
    if (others) others.push(version);
    else index.set(version.key, [version]);
  }
  for (const versions of index.values()) versions.sort((a, b) => b.order - a.order);
  for (const name of readdirSync(paths.temporary))
    rmSync(join(paths.temporary, name), { force: true, recursive: true });
  return index;
}
