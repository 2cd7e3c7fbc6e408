import type { Body } from '../base/bytes.ts';
import { allEnded } from '../base/pool.ts';
import { shareReading } from '../base/share-reading.ts';
import { type Spend, writingRequest } from '../fleet/usage-limits.ts';
import type { QueueItem } from '../store/model.ts';
import type { Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
import { type Aim, candidates, giveUp, type Put, type Tried, tryBackend, type WrittenCopy } from './put-bytes.ts';

/**
 * What several writers of one content led to: the intents whose bytes are stored and verified, and why the other writers
 * failed. `isDoubtful` when an intent could not be taken back, so that the reaper may yet record what arrived.
 */
export interface WrittenCopies {
  readonly items: readonly QueueItem[];
  readonly why: string;
  readonly isDoubtful: boolean;
}

/** Writers of one content side by side: no two of them are at one backend, and none tries what failed another. */
interface Writers {
  readonly busy: Set<string>;
  readonly failed: Map<string, string>;
  isDoubtful: boolean;
}

/**
 * Writes up to `wanted` copies side by side, each on a backend of its own, from one reading of the content. A writer whose
 * backend fails goes on to the next; one that is done keeps its intent alive until the last is. Returns what stands then,
 * fewer where no more backends take it. When it throws, what stood is given up.
 */
export async function writeCopies(put: Put, aim: Aim, wanted: number): Promise<WrittenCopies> {
  const writers: Writers = { busy: new Set(), failed: new Map(), isDoubtful: false };
  const reading = wanted > 1 ? shareReading(put.content.open, wanted) : undefined;
  const written: WrittenCopy[] = [];
  const write = async (body: Body | undefined) => {
    const copy = await writeOne(put, aim, writers, body);
    if (copy !== null) written.push(copy);
  };
  try {
    await allEnded((reading?.bodies ?? [undefined]).map(write));
  } catch (error) {
    await giveUpAll(put, written, (error as Error).message);
    throw error;
  } finally {
    await Promise.all([...written.map(({ rest }) => rest()), reading?.close()]);
  }
  return { items: written.map(({ item }) => item), why: whyNoMore(writers), isDoubtful: writers.isDoubtful };
}

/** Intent, then bytes, on the first backend that takes them. `body`: what its first attempt reads. */
async function writeOne(put: Put, aim: Aim, writers: Writers, body: Body | undefined): Promise<WrittenCopy | null> {
  let first = body;
  const open = () => {
    const shared = first;
    first = undefined;
    return shared ?? put.content.open();
  };
  for (;;) {
    const fleet = await put.context.fleet();
    const { busy, failed } = writers;
    const name = candidates(put, fleet, [...aim.holders, ...busy]).find((one) => !failed.has(one));
    if (name === undefined) return null;
    // Taken before anything is awaited: no other writer chooses it.
    busy.add(name);
    const tried = await withinLimits(put, fleet, name, () => tryBackend(put, fleet, name, aim, open));
    if (tried.outcome === 'written') return tried.copy;
    busy.delete(name);
    failed.set(name, tried.why);
    writers.isDoubtful ||= tried.isDoubtful;
  }
}

/** Tries a backend only where its usage limits allow what that spends, beside all that is on its way from this process. */
async function withinLimits(put: Put, fleet: Fleet, name: string, tryIt: () => Promise<Tried>): Promise<Tried> {
  const spent = await put.context.spending.spend([{ backend: name, ...spendOf(put, fleet) }], tryIt);
  if (spent.outcome === 'spent') return spent.value;
  return { outcome: 'failed', why: `"${name}" has reached a usage limit (${spent.reason})`, isDoubtful: false };
}

/** In parts there is a request for each, one before and one after them. */
function spendOf({ content: { sizeBytes } }: Put, { params }: Fleet): Spend {
  const { multipartAboveBytes, partBytes } = params;
  const requests = sizeBytes > multipartAboveBytes ? Math.ceil(sizeBytes / partBytes) + 2 : 1;
  return { ...writingRequest, requests, ingressBytes: sizeBytes };
}

function whyNoMore({ failed }: Writers): string {
  if (failed.size > 0) return `: ${[...failed.values()].join('; ')}`;
  return ' (draining, leaving, unreachable, full or too small for it)';
}

/** Throws `undecided` where one of them may yet be recorded. */
async function giveUpAll(put: Put, written: readonly WrittenCopy[], reason: string): Promise<void> {
  for (const { item } of written) {
    if (await giveUp(put, item, reason)) continue;
    throw new HoldfastError(
      'undecided',
      `Cannot say whether "${put.key}" was put: what failed could not be taken back (${reason})`,
    );
  }
}
