import { createHash } from 'node:crypto';
import { join } from 'node:path';

/**
 * What lies where on disk. Everything can be looked at with `ls` and `cat`:
 *
 *     <dir>/server.json                       how often a server has started here; makes ids unique
 *     <dir>/<bucket>/bucket.json              when it was created, its versioning
 *     <dir>/<bucket>/objects/<name>           the bytes of an object, nothing else
 *     <dir>/<bucket>/journal.jsonl            per change one line: key, ETag, checksums, headers, user metadata, tags
 *     <dir>/<bucket>/uploads/<id>.json        an open multipart upload
 *     <dir>/<bucket>/uploads/<id>.<n>[.json]  part n of it, and what is known of the part
 *     <dir>/<bucket>/tmp/                     what is being written right now
 *
 * `<name>` is the key with every byte outside `A-Z a-z 0-9 - _ . ~ ! @ + = ,`
 * as `%XX`, so `photos/cat.jpg` is `photos%2Fcat.jpg`. A leading dot is
 * escaped too. A name past 200 characters is cut and ends in `%h<SHA-256 of
 * the key>`; the version of an object in a versioned bucket ends in
 * `%v<version id>`. Neither can be part of an escaped key.
 *
 * A write puts its bytes into `tmp/`, then its line into the journal, then
 * renames the bytes into place. The next start finishes a rename that a crash
 * has kept from happening, and empties `tmp/`. A line whose file is gone is
 * forgotten: who removes a file by hand has removed the object.
 */
export interface BucketPaths {
  root: string;
  bucket: string;
  objects: string;
  journal: string;
  uploads: string;
  temporary: string;
}

const MAX_NAME = 200;

export function bucketPaths(dir: string, name: string): BucketPaths {
  const root = join(dir, name);
  return {
    root,
    bucket: join(root, 'bucket.json'),
    objects: join(root, 'objects'),
    journal: join(root, 'journal.jsonl'),
    uploads: join(root, 'uploads'),
    temporary: join(root, 'tmp'),
  };
}

/** File name of one version of a key; `isCaseBlind` for a file system that holds `a` and `A` for the same. */
export function fileName(key: string, versionId: string, isCaseBlind: boolean): string {
  const plain = isCaseBlind ? /[a-z0-9\-_.~!@+=,]/ : /[A-Za-z0-9\-_.~!@+=,]/;
  let name = '';
  for (const byte of Buffer.from(key)) {
    const char = String.fromCharCode(byte);
    const isPlain = byte < 0x80 && plain.test(char) && !(char === '.' && name === '');
    name += isPlain ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  if (name.length > MAX_NAME) {
    const hash = createHash('sha256').update(key).digest('hex');
    name = `${name.slice(0, MAX_NAME - hash.length - 2)}%h${hash}`;
  }
  return versionId === 'null' ? name : `${name}%v${versionId}`;
}
