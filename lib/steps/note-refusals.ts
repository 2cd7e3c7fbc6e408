import { isDeepStrictEqual } from 'node:util';
import { note } from '../base/tally.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Tick } from '../tick/tick.ts';
import type { CopyTurn } from './copy-turn.ts';
import type { Blame } from './judge-copy.ts';
import type { PlainChangeTick } from './plain-change.ts';
import { settlePlainChange } from './plain-change.ts';
import type { QuarantineTick } from './quarantine.ts';
import { quarantineOnEvidence } from './quarantine.ts';
import { type Refusal, unstuck, withRefusals } from './refusals.ts';

/** What this file asks of a tick. */
export type NoteRefusalsTick = Pick<Tick, 'deps' | 'tally' | 'standings' | 'commit' | 'audit'> &
  PlainChangeTick &
  QuarantineTick;

/** An object as it is recorded now, and what its turn met. */
export interface MetObject {
  readonly object: ObjectRecord;
  readonly met: readonly { readonly blame: Blame }[];
}

/**
 * Writes down, at the end of a batch, which backends refuse which objects, so that each is asked again only after its
 * backoff, and that an object is stuck once no way is left. What a target refused counts only once it is settled that its
 * refusals speak of the objects. Copies that seemed missing or wrong are examined first.
 */
export async function noteRefusals(turn: CopyTurn, all: readonly MetObject[]): Promise<void> {
  const { tick } = turn;
  const changes: RecordChange[] = [];
  for (const { object, met } of all) {
    const learnt: Learning = { refusals: [], settled: [], isExamined: false };
    for (const { blame } of met) await learnFrom(turn, object, blame, learnt);
    const before = learnt.isExamined ? await sameContentNow(tick, object) : object;
    if (before === undefined) continue;
    const after = withRefusals(tick, before, learnt);
    if (!isDeepStrictEqual(before, after)) changes.push({ before, after });
  }
  await commitAll(turn, changes);
}

/** Takes the label of stuck ones off objects that want nothing any more. */
export async function liftStuck(turn: CopyTurn, objects: readonly ObjectRecord[]): Promise<void> {
  await commitAll(
    turn,
    objects.map((object) => ({ before: object, after: unstuck(object) })),
  );
}

interface Learning {
  readonly refusals: Refusal[];
  readonly settled: string[];
  isExamined: boolean;
}

async function learnFrom(turn: CopyTurn, object: ObjectRecord, blame: Blame, learnt: Learning): Promise<void> {
  if (blame.on === 'object') {
    const { refusal } = blame;
    const speaksOf = refusal.leg === 'source' ? 'objects' : await turn.trust.verdict(refusal.backend);
    if (speaksOf === 'objects') learnt.refusals.push(refusal);
  } else if (blame.on === 'bytes') {
    learnt.isExamined = true;
    const { backend, seem } = blame;
    const outcome = await examine(turn.tick, object, blame);
    note(turn.tick.tally, `examined-${outcome}`);
    if (outcome === 'reading')
      learnt.refusals.push({
        backend,
        leg: 'source',
        cause: seem === 'changed' ? 'examining-change' : 'examining',
        message: 'Its bytes are being read',
      });
    else if (ended.has(outcome)) learnt.settled.push(backend);
    // Evidence that cannot be had now is not gathered anew in every tick.
    else learnt.refusals.push({ backend, leg: 'source', cause: seem, message: `Examined: ${outcome}` });
  }
}

async function examine(
  tick: NoteRefusalsTick,
  object: ObjectRecord,
  { backend, seem }: Extract<Blame, { on: 'bytes' }>,
) {
  const isFile = object.copies[backend] === '';
  if (seem === 'changed') return settlePlainChange(tick, object, backend);
  // Others than its owner may have put there what it holds.
  const change = seem === 'wrong' && isFile ? await settlePlainChange(tick, object, backend) : 'unchanged';
  if (change !== 'unchanged') return change;
  return (await quarantineOnEvidence(tick, object.key, backend)).outcome;
}

/** How an examination ends: what seemed so has left the record, or is as recorded, or the record is another now. */
const ended: ReadonlySet<Awaited<ReturnType<typeof examine>>> = new Set([
  'quarantined',
  'damaged',
  'good',
  'lost',
  'renewed',
  'overwritten',
  'unchanged',
  'foreign',
  'gone',
]);

async function sameContentNow(
  tick: NoteRefusalsTick,
  { key, generation }: ObjectRecord,
): Promise<ObjectRecord | undefined> {
  const entry = (await tick.deps.store.objects([key])).get(key);
  return entry?.kind === 'object' && entry.generation === generation ? entry : undefined;
}

interface RecordChange {
  readonly before: ObjectRecord;
  readonly after: ObjectRecord;
}

/** What changed meanwhile is left as it is: the next tick sees it. */
async function commitAll({ tick }: CopyTurn, changes: readonly RecordChange[]): Promise<void> {
  if (changes.length === 0) return;
  const outcomes = await tick.commit(changes.map((change) => ({ key: change.before.key, change })));
  for (const [i, { outcome }] of outcomes.entries()) {
    const { before, after } = changes[i]!;
    if (outcome !== 'committed' || before.condition === after.condition) continue;
    if (after.condition === 'stuck') {
      note(tick.tally, 'stuck');
      tick.audit('Object is stuck: every backend refuses it', { key: after.key, message: textOf(after) });
    } else {
      tick.audit('Object is stuck no more', { key: after.key });
    }
  }
}

function textOf({ stuck = {} }: ObjectRecord): string {
  return Object.entries(stuck)
    .map(([backend, { leg, cause }]) => `${leg} ${backend}: ${cause}`)
    .join('; ');
}
