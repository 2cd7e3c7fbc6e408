import { policyOf } from '../../config/fleet-file.ts';
import { lacking, missingOf, placementRule } from '../../config/placement-rule.ts';
import { type ImportPlan, writeUnitsOf } from '../../plans/import-estimate.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';
import type { FileFound, FileResult } from './file-found.ts';
import type { ListedOn } from './joined-feed.ts';
import { settled } from './key-turn.ts';
import { sizeAndMd5 } from './read-file.ts';

/** What this file asks of a tick. */
export type PlanFileTick = Pick<Tick, 'config'>;

/** What importing files would lead to, without asking or writing anything. What only a reading can tell is said to be so. */
export function planFiles(tick: PlanFileTick, plan: ImportPlan, { key, files, entry }: FileFound): FileResult[] {
  const known = entry?.kind === 'object' ? entry : null;
  const [first] = files as readonly [ListedOn, ...ListedOn[]];
  const likes = known === null ? [first.item] : likesOf(known);
  const fates = files.map((file) => (known === null && file === first ? 'would-import' : fateOf(file, likes)));
  const joining = files.filter((_, i) => fates[i] === 'would-import' || fates[i] === 'would-join');
  const holders = [...Object.keys(known?.copies ?? {}), ...joining.map(({ backend }) => backend)];
  if (fates.some((fate) => fate !== 'would-conflict')) plan.keys += 1;
  // Each file that joins an object that is there already is a change of its own.
  const changes = known === null ? 1 : joining.length;
  plan.writeUnits += changes * writeUnitsOf(recordBytes(key, files.length));
  planReads(plan, known, files, fates);
  planCopies(tick, plan, key, known?.sizeBytes ?? first.item.sizeBytes, new Set(holders));
  return files.map(({ backend }, i) => ({ backend, turn: settled('skipped', fates[i]!) }));
}

type Fate = 'would-import' | 'would-join' | 'would-conflict' | 'would-read';

function likesOf({ sizeBytes, plainEtags = {} }: Extract<Entry, { kind: 'object' }>) {
  return [{ sizeBytes, etag: '' }, ...Object.values(plainEtags).map((etag) => ({ sizeBytes, etag }))];
}

function fateOf({ item }: ListedOn, likes: readonly { readonly sizeBytes: number; readonly etag: string }[]): Fate {
  if (likes.every(({ sizeBytes }) => sizeBytes !== item.sizeBytes)) return 'would-conflict';
  const md5 = sizeAndMd5(item);
  return md5 !== null && likes.some((like) => sizeAndMd5(like) === md5) ? 'would-join' : 'would-read';
}

/** Files that listings do not compare, and what they are to be compared with, where nobody has read that. */
function planReads(plan: ImportPlan, known: ObjectRecord | null, files: readonly ListedOn[], fates: readonly Fate[]) {
  const read = (backend: string, sizeBytes: number) => {
    plan.reads += 1;
    plan.readBytes.set(backend, (plan.readBytes.get(backend) ?? 0) + sizeBytes);
  };
  const unlike = files.filter((_, i) => fates[i] === 'would-read');
  for (const { backend, item } of unlike) read(backend, item.sizeBytes);
  if (unlike.length === 0 || known?.sha256 !== undefined) return;
  const [first] = files as readonly [ListedOn, ...ListedOn[]];
  const other = known === null ? first.backend : (Object.keys(known.copies)[0] ?? first.backend);
  read(other, known?.sizeBytes ?? first.item.sizeBytes);
}

/** A record with its key, ids, times and a few ETags. */
function recordBytes(key: string, files: number): number {
  return 350 + 2 * Buffer.byteLength(key) + 80 * files;
}

/** The copies that the policy then asks for, read where that is cheapest. */
function planCopies(
  { config }: PlanFileTick,
  plan: ImportPlan,
  key: string,
  sizeBytes: number,
  holders: ReadonlySet<string>,
): void {
  const rule = placementRule(config, policyOf(config, key).name);
  const takers = config.backends.map(({ name }) => name);
  const missing = Math.max(0, missingOf(lacking(rule, [...holders], takers)));
  if (missing === 0) return;
  const priceOf = (name: string) => config.backends.find((backend) => backend.name === name)?.egressUsdPerGb ?? 0;
  const source = [...holders].reduce((a, b) => (priceOf(b) < priceOf(a) ? b : a));
  plan.copies += missing;
  plan.copyBytes += missing * sizeBytes;
  plan.egressBytes.set(source, (plan.egressBytes.get(source) ?? 0) + missing * sizeBytes);
}
