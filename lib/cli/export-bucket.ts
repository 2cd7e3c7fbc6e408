import { bodyOf, collect } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { allEnded } from '../base/pool.ts';
import type { Holdfast, ObjectSummary } from '../client/client.ts';
import type { GetObject } from '../client/get.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { parseFleetFile } from '../config/parse-fleet-file.ts';
import { type Fingerprint, fingerprintOf, fingerprintsOverlap } from '../config/place.ts';
import { ConfigError } from '../config/problems.ts';
import {
  type Backend,
  BackendError,
  type Capabilities,
  type ObjectHeaders,
  type StoredObject,
} from '../fleet/backend.ts';
import { listAll } from '../fleet/list-all.ts';
import { ownerKey } from '../fleet/owner.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { expectedEtag } from '../store/records.ts';
import { markName } from '../transfer/mark.ts';
import { putVerified } from '../transfer/put-verified.ts';
import { digestOf } from '../transfer/verify.ts';
import { type Guard, guardOf } from './export-guard.ts';
import { type Exported, exportFolder, lineOf, parseManifest } from './export-manifest.ts';
import type { ExportStep, ExportTarget } from './export-work.ts';
import { UsageError } from './failure.ts';
import { nameHash } from './folders.ts';
import { fleetNow, type Session } from './session.ts';

export interface BucketOptions {
  /** Reach the bucket as this backend is reached, and have its storage copy what it holds. */
  readonly backend?: string;
  readonly endpoint?: string;
  readonly region?: string;
}

/** In one request up to here; more goes in parts. */
const mostAtOnceBytes = 5 * 1024 ** 3;
const partBytes = 64 * 1024 ** 2;
/** One request of the storage's own copies so much. */
const mostCopiedBytes = 5 * 1024 ** 3;
const mostKeyBytes = 1024;
const linesPerFile = 500;
const targetName = 'export';

interface Bucket {
  readonly session: Session;
  readonly client: Holdfast;
  readonly backend: Backend;
  readonly guard: Guard;
  readonly config: BackendConfig;
  /** The backend whose storage may copy by itself. */
  readonly neighbour?: { readonly name: string; readonly place: Fingerprint };
}

/** A bucket to export to. Throws where it cannot be one, or is a backend's. */
export async function bucketTarget(session: Session, url: string, options: BucketOptions): Promise<ExportTarget> {
  const { config, neighbour } = await configOf(session, url, options);
  const { config: fleet } = await fleetNow(session);
  const holdfastProcess = session.process();
  const open = (can: Capabilities, prefix = config.prefix) =>
    holdfastProcess.openBackend({ ...config, prefix }, can, 'read-write');
  await assertNobodys(url, config, fleet.fingerprints, (prefix) => open({}, prefix));
  // The storage that ignores a condition, or refuses it, is asked by a HEAD before each write: that is done always.
  const backend = await open({ conditionalPut: true, conditionalCopies: true, conditionalCompletion: true });
  const unguarded = { conditionalPut: false, conditionalCopies: false, conditionalCompletion: false };
  const guard = guardOf(session.log(), backend, await open(unguarded));
  const manifest = new Map<string, Exported>();
  for (const text of await manifestFiles(backend)) for (const [key, one] of parseManifest(text)) manifest.set(key, one);
  const bucket: Bucket = { session, client: session.client(), backend, guard, config, ...defined({ neighbour }) };
  let lines: string[] = [];
  const flush = async () => {
    const text = lines.join('');
    lines = [];
    if (text !== '') await putText(backend, `${exportFolder}/manifest-${holdfastProcess.ids.ulid()}.jsonl`, text);
  };
  return {
    name: url,
    manifest,
    bring: (object, before) => bring(bucket, object, before),
    async note(exported) {
      manifest.set(exported.key, exported);
      lines.push(lineOf(exported));
      if (lines.length >= linesPerFile) await flush();
    },
    close: flush,
  };
}

async function configOf(session: Session, url: string, { backend: name, endpoint, region }: BucketOptions) {
  const found = /^s3:\/\/([^/]+)\/?(.*)$/s.exec(url);
  if (found === null) throw new UsageError(`"${url}" is not s3://bucket/prefix`);
  const [, bucket, path = ''] = found;
  const prefix = path === '' || path.endsWith('/') ? path : `${path}/`;
  if (name === undefined) {
    const own = { name: targetName, bucket, prefix, credentials: 'role', region: region ?? session.env.AWS_REGION };
    return { config: placeOf(url, defined({ ...own, endpoint })), neighbour: undefined };
  }
  if (endpoint !== undefined) throw new UsageError('--backend and --endpoint are two ways to say where the bucket is');
  const { config } = await fleetNow(session);
  const like = config.file.backends.find((one) => one.name === name);
  if (like === undefined)
    throw new UsageError(
      `There is no backend "${name}" in the fleet file; there are ${config.file.backends.map((one) => one.name).join(', ')}`,
    );
  const place = { ...fingerprintOf(like) };
  return { config: { ...like, name: targetName, bucket: bucket!, prefix }, neighbour: { name, place } };
}

/** A place as a fleet file would describe it; what is wrong with it is said as of the command line. */
function placeOf(url: string, backend: object): BackendConfig {
  try {
    return parseFleetFile({ backends: [backend], policies: { default: { factor: 1 } } }).backends[0]!;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = error.problems.map((one) => one.replace(/^backends\.0\./, ''));
    throw new UsageError(`Cannot export to "${url}": ${problems.join('; ')}`);
  }
}

/**
 * Throws where the place overlaps one that is, or ever was, a backend's. Storage has more names than one: a place whose owner
 * object is found through this very connection is a backend's, whatever its endpoint is called.
 */
async function assertNobodys(
  url: string,
  config: BackendConfig,
  fingerprints: Readonly<Record<string, Fingerprint>>,
  open: (prefix: string) => Promise<Backend>,
): Promise<void> {
  const own = fingerprintOf(config);
  const isAws = ({ endpoint }: Fingerprint) => new URL(endpoint).hostname.endsWith('.amazonaws.com');
  for (const [name, place] of Object.entries(fingerprints)) {
    const isSameHost = isAws(place) && isAws(own);
    if (fingerprintsOverlap(isSameHost ? { ...own, endpoint: place.endpoint } : own, place))
      throw new UsageError(`Cannot export to "${url}": it overlaps backend "${name}", whose bytes are Holdfast's own`);
  }
  const names = own.prefix.split('/').slice(0, -1);
  const above = names.map((_, i) =>
    names
      .slice(0, i + 1)
      .map((one) => `${one}/`)
      .join(''),
  );
  const below = Object.values(fingerprints)
    .filter((place) => place.bucket === own.bucket && place.prefix.startsWith(own.prefix))
    .map(({ prefix }) => prefix);
  await allEnded(
    [...new Set(['', ...above, ...below])].map(async (prefix) => {
      if ((await (await open(prefix)).head(ownerKey)) !== null)
        throw new UsageError(`Cannot export to "${url}": "${prefix}" in that bucket belongs to a fleet of Holdfast`);
    }),
  );
}

/** In the order in which they were written. */
async function manifestFiles(backend: Backend): Promise<string[]> {
  const listed = await listAll(backend, `${exportFolder}/manifest-`);
  const keys = listed.map((item) => item.storageKey);
  const texts: string[] = [];
  for (const key of keys.sort()) texts.push((await collect((await backend.get(key)).body)).toString());
  return texts;
}

/** Under a name that nobody else has: no condition is needed, and some storage takes none. */
async function putText(backend: Backend, key: string, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  await backend.put({
    storageKey: key,
    sizeBytes: bytes.length,
    body: bodyOf(bytes),
    headers: { contentType: 'application/jsonl' },
  });
}

async function bring(bucket: Bucket, object: ObjectSummary, before: Exported | undefined): Promise<ExportStep> {
  const { backend, config } = bucket;
  const { key, generation, sizeBytes } = object;
  const odd = oddName(config.prefix, key);
  const name = odd === null ? key : `${exportFolder}/odd/${nameHash(key)}`;
  const stored = await backend.head(name);
  const isOurs = stored !== null && before?.name === name && before.etag === stored.etag;
  if (isOurs && before.generation === generation) return { outcome: 'same', sizeBytes };
  const step =
    stored === null || isOurs
      ? await store(bucket, object, name, isOurs ? stored.etag : undefined)
      : await recognise(bucket, object, name, stored);
  if (odd === null || step.outcome === 'problem') return step;
  return { ...step, outcome: 'problem', why: `${odd}; it is in "${name}"`, isDone: true };
}

function oddName(prefix: string, key: string): string | null {
  if (key === exportFolder || key.startsWith(`${exportFolder}/`)) return 'the export keeps its own files there';
  const length = Buffer.byteLength(prefix + key);
  return length > mostKeyBytes ? `with the prefix its key has ${length} bytes; ${mostKeyBytes} are allowed` : null;
}

/** An object that is there, and is not in the manifest: from a run that was cut short, or somebody else's. */
async function recognise(
  bucket: Bucket,
  object: ObjectSummary,
  name: string,
  stored: StoredObject,
): Promise<ExportStep> {
  const { client, backend } = bucket;
  const another = `"${name}" is another object, which this export did not write`;
  if (stored.sizeBytes !== object.sizeBytes) return { outcome: 'problem', why: another };
  const { body } = await backend.get(name, { ifMatch: stored.etag });
  const found = await digestOf(body);
  const content = await client.read(object.key, async (one) => ({ ...one, sha256: (await digestOf(one.body)).sha256 }));
  if (content === null) return { outcome: 'problem', why: 'it was deleted meanwhile' };
  const isSame = found.sha256 === content.sha256 && describes(stored) === describes(content);
  if (!isSame) return { outcome: 'problem', why: another };
  return {
    outcome: 'same',
    sizeBytes: content.sizeBytes,
    exported: exportedAs(content, name, content.sha256, stored.etag),
  };
}

function describes({
  headers,
  metadata,
}: {
  readonly headers: ObjectHeaders;
  readonly metadata: Readonly<Record<string, string>>;
}) {
  return JSON.stringify([Object.entries(headers).sort(), Object.entries(metadata).sort()]);
}

function exportedAs(
  content: Omit<GetObject, 'body' | 'isVerified'>,
  name: string,
  sha256: string,
  etag: string,
): Exported {
  const { key, generation, sizeBytes, headers, metadata } = content;
  return { key, name, generation, sizeBytes, sha256, headers, metadata, etag };
}

/** Copied by the storage where it can; else its bytes pass here. Over nothing, or over what this export wrote before. */
async function store(
  bucket: Bucket,
  object: ObjectSummary,
  name: string,
  over: string | undefined,
): Promise<ExportStep> {
  const within = over === undefined ? await copyWithin(bucket, object, name) : ({ outcome: 'not-here' } as const);
  if (within.outcome === 'copied') return { outcome: 'done', sizeBytes: object.sizeBytes, exported: within.exported };
  // A copy whose answer was lost, or somebody else's: its bytes say so.
  if (within.outcome === 'present') return recognise(bucket, object, name, within.stored);
  const { backend, guard } = bucket;
  const how = object.sizeBytes > mostAtOnceBytes ? 'an upload in parts' : 'an upload';
  const written = await guard(how, (to) => writeTo(to, bucket, object, name, over));
  if (written === null) return { outcome: 'problem', why: 'it was deleted meanwhile' };
  const { content, answer } = written;
  if (answer.outcome === 'wrong') return { outcome: 'problem', why: answer.detail };
  const stored = await backend.head(name);
  if (stored === null) return { outcome: 'problem', why: `"${name}" is gone again` };
  const exported = exportedAs(content, name, answer.digest.sha256, stored.etag);
  return { outcome: 'done', sizeBytes: content.sizeBytes, exported };
}

/** Null where the object was deleted meanwhile. */
function writeTo(
  to: Backend,
  { client, session }: Bucket,
  { key }: ObjectSummary,
  name: string,
  over: string | undefined,
) {
  return client.read(key, async (content) => {
    const { headers, metadata, sizeBytes, sha256 } = content;
    const answer = await putVerified(to, {
      storageKey: name,
      body: content.body,
      expected: { sizeBytes, ...defined({ sha256 }) },
      what: `"${key}"`,
      headers,
      metadata,
      parts: { aboveBytes: mostAtOnceBytes, partBytes, clock: session.process().clock },
      ...(over === undefined ? { ifAbsent: true } : { ifMatch: over }),
    });
    if (answer.outcome === 'refused') throw answer.error;
    return { content, answer };
  });
}

type Within =
  | { readonly outcome: 'copied'; readonly exported: Exported }
  | { readonly outcome: 'not-here' }
  | { readonly outcome: 'present'; readonly stored: StoredObject };

/** Has the storage copy what it holds, with other metadata in place of our mark. */
async function copyWithin(bucket: Bucket, { key, generation }: ObjectSummary, name: string): Promise<Within> {
  const { session, backend, neighbour } = bucket;
  const entry = (await session.process().store.objects([key])).get(key);
  const record = entry?.kind === 'object' && entry.generation === generation ? entry : undefined;
  const copyId = neighbour && record?.copies[neighbour.name];
  const isPlain = record?.encryption === undefined && record?.sha256 !== undefined;
  if (
    neighbour === undefined ||
    record === undefined ||
    copyId === undefined ||
    !isPlain ||
    record.sizeBytes > mostCopiedBytes
  )
    return { outcome: 'not-here' };
  try {
    return await copyRecorded(bucket, record, neighbour, name, storageKey(key, copyId));
  } catch (error) {
    // What the storage does not do by itself is done by hand.
    if (error instanceof BackendError) return checkAfterFailure(backend, name);
    throw error;
  }
}

async function copyRecorded(
  { session, backend, guard }: Bucket,
  record: ObjectRecord,
  neighbour: NonNullable<Bucket['neighbour']>,
  name: string,
  sourceKey: string,
): Promise<Within> {
  const view = await fleetNow(session);
  const config = view.config.file.backends.find((one) => one.name === neighbour.name)!;
  const source = await session
    .process()
    .openBackend(config, view.capabilities(neighbour.name) as Capabilities, 'read-write');
  const found = await source.head(sourceKey);
  if (found === null || found.sizeBytes !== record.sizeBytes) return { outcome: 'not-here' };
  const { [markName]: _mark, ...metadata } = found.metadata;
  const { bucket, prefix } = neighbour.place;
  const ifMatch = expectedEtag(record, neighbour.name) ?? found.etag;
  const answer = await guard('a copy within', (to) =>
    to.copyFrom({
      source: { backend: neighbour.name, bucket, prefix, storageKey: sourceKey, ifMatch },
      storageKey: name,
      headers: found.headers,
      metadata,
      ifAbsent: true,
    }),
  );
  const stored = await backend.head(name);
  if (stored === null) return { outcome: 'not-here' };
  const sha256 = answer.sha256 ?? (await digestOf((await backend.get(name)).body)).sha256;
  if (sha256 !== record.sha256) return { outcome: 'present', stored };
  const content = { ...record, sha256, headers: found.headers, metadata };
  return { outcome: 'copied', exported: exportedAs(content, name, sha256, stored.etag) };
}

/** After a copy that failed: whether it left something all the same. */
async function checkAfterFailure(backend: Backend, name: string): Promise<Within> {
  const stored = await backend.head(name);
  return stored === null ? { outcome: 'not-here' } : { outcome: 'present', stored };
}
