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
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { type BucketPaths, fileName } from './disk-layout.ts';
import type { Ids } from './ids.ts';
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
  /** Rewrites the sidecar. */
  update(version: ObjectVersion): void;
  /** Without a version id: removes the object, or lays a delete marker over it where versions are kept. */
  remove(key: string): ObjectVersion | undefined;
  removeVersion(version: ObjectVersion): void;
  /** Undefined when somebody has removed the file by hand. */
  open(version: ObjectVersion): OpenVersion | undefined;
  path(version: ObjectVersion): string;
  temporaryPath(): string;
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
  for (const path of [paths.objects, paths.meta, paths.uploads, paths.temporary]) mkdirSync(path, { recursive: true });
  const state = readState(deps, paths);
  recoverTemporary(paths);
  const index = readIndex(deps, paths);
  const keys = createSortedKeys(index.keys());

  const nameOf = (version: ObjectVersion) => fileName(version.key, version.versionId, deps.isCaseBlind);
  const dataPath = (version: ObjectVersion) => join(paths.objects, nameOf(version));
  const metaPath = (version: ObjectVersion) => join(paths.meta, `${nameOf(version)}.json`);
  const temporaryPath = () => join(paths.temporary, deps.ids.next());

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
    replaceFile(temporaryPath(), metaPath(marker), JSON.stringify(marker));
    rmSync(dataPath(marker), { force: true });
    add(marker);
    return marker;
  };
  const removeVersion = (version: ObjectVersion) => {
    // Data first: a sidecar without data is dropped at the next start, data without a sidecar would stay.
    rmSync(dataPath(version), { force: true });
    rmSync(metaPath(version), { force: true });
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
      const sidecar = `${data}.json`;
      writeFileSync(sidecar, JSON.stringify(version));
      renameSync(data, dataPath(version));
      renameSync(sidecar, metaPath(version));
      add(version);
      return version;
    },
    update(version) {
      replaceFile(temporaryPath(), metaPath(version), JSON.stringify(version));
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

function recoverTemporary(paths: BucketPaths): void {
  const names = new Set(readdirSync(paths.temporary));
  for (const name of names) {
    const path = join(paths.temporary, name);
    const isLoneSidecar = name.endsWith('.json') && !names.has(name.slice(0, -'.json'.length));
    const moveTo = isLoneSidecar ? sidecarHome(path, paths) : undefined;
    if (moveTo === undefined) rmSync(path, { force: true, recursive: true });
    else renameSync(path, moveTo);
  }
}

function sidecarHome(path: string, paths: BucketPaths): string | undefined {
  const version = readSidecar(path);
  if (!version) return undefined;
  const isAt = (isCaseBlind: boolean) =>
    existsSync(join(paths.objects, fileName(version.key, version.versionId, isCaseBlind)));
  const isCaseBlind = !isAt(false) && isAt(true);
  return join(paths.meta, `${fileName(version.key, version.versionId, isCaseBlind)}.json`);
}

function readIndex(deps: BucketDeps, paths: BucketPaths): Map<string, ObjectVersion[]> {
  const index = new Map<string, ObjectVersion[]>();
  const data = new Set(readdirSync(paths.objects));
  for (const file of readdirSync(paths.meta)) {
    const version = readSidecar(join(paths.meta, file));
    const name = file.slice(0, -'.json'.length);
    if (!version || (!version.isDeleteMarker && !data.has(name))) {
      rmSync(join(paths.meta, file), { force: true });
      continue;
    }
    if (name !== fileName(version.key, version.versionId, deps.isCaseBlind)) continue;
    index.set(version.key, [...(index.get(version.key) ?? []), version]);
  }
  for (const versions of index.values()) versions.sort((a, b) => b.order - a.order);
  return index;
}

function readSidecar(path: string): ObjectVersion | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ObjectVersion;
  } catch {
    return undefined;
  }
}
