import type { Entry } from '../../../lib/store/model.ts';
import { StoreError } from '../../../lib/store/port.ts';
import { withoutBackend } from '../fleet.ts';
import type { Actor } from '../operation.ts';
import { Violation } from '../oracle/violation.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;
const hour = 60 * minute;

function written({ calls }: Actor, names: readonly string[]): string | undefined {
  return names.find((name) => calls.has(`${name} PUT`) || calls.has(`${name} complete-upload`));
}

/** Whether its bytes are about to stand. */
function isStoring({ world }: Stage, actor: Actor): boolean {
  return ['PUT', 'complete-upload'].some((operation) => world.isAsking(actor, operation));
}

/** Nothing is recorded on a backend that was not before. */
function expectNothingNew(stage: Stage, backend: string, before: ReadonlySet<string>): void {
  const [added] = [...stage.namedOn(backend)].filter((place) => !before.has(place));
  if (added !== undefined)
    throw new Violation('places', `"${added}" is recorded on ${backend}, which had left the file by then`);
}

/** A replicator sleeps while it writes a copy, and the target leaves the file. */
export async function copyOvertaken(stage: Stage): Promise<boolean> {
  const { world, actors } = stage;
  if (!(await stage.isReady())) return false;
  await stage.apply(stage.roomyFile(1));
  const record = await stage.putNew(1, 40);
  const file = stage.roomyFile(2);
  await stage.apply(file);
  const { actor } = actors.startTick('replicator', {}, 900_000);
  const isWriting = () => isStoring(stage, actor) && written(actor, stage.names()) !== undefined;
  const isThere = record !== undefined && (await stage.untilAt(actor, isWriting));
  if (isThere) {
    const target = written(actor, stage.names())!;
    world.freeze(actor, 2 * minute);
    await stage.advance();
    const before = stage.namedOn(target);
    actors.apply(withoutBackend(file, target));
    await stage.settle();
    expectNothingNew(stage, target, before);
  }
  await stage.settle();
  await stage.apply(file);
  return isThere;
}

/** A move's commit is lost on its way, and while it waits to send it again the destination leaves the file. */
export async function moveLost(stage: Stage): Promise<boolean> {
  const { world, actors } = stage;
  if (!(await stage.isReady())) return false;
  const roomy = stage.roomyFile(1);
  await stage.apply(roomy);
  const record = await stage.putNew(1, 40);
  if (record === undefined) return false;
  const [from] = Object.keys(record.copies) as [string];
  const to = stage.random.pick(stage.names().filter((name) => name !== from));
  stage.tune({ REBALANCER_STRATEGY: 'spread' });
  const full = Math.ceil(stage.oracle.usedBytes(from) * 1.1) + 1;
  const quotaOf = (name: string) => (name === from ? full : name === to ? 10_000_000 : 0);
  const file = { ...roomy, backends: roomy.backends.map((one) => ({ ...one, quotaBytes: quotaOf(one.name) })) };
  await stage.apply(file);
  const { actor } = actors.startTick('rebalancer', {}, 900_000);
  const isRecording = () => written(actor, [to]) !== undefined && world.isCommitting(actor);
  const isThere = await stage.untilAt(actor, isRecording);
  if (isThere) {
    const before = stage.namedOn(to);
    world.lose(actor, 'transact', new StoreError('unanswered', 'The store is unanswered (simulated)'));
    world.freeze(actor, 2 * minute);
    actors.apply(withoutBackend(file, to));
    await stage.settle();
    expectNothingNew(stage, to, before);
  }
  await stage.settle();
  stage.tune({});
  await stage.apply(roomy);
  return isThere;
}

/** A put is on its way to a backend that is empty, and an operator takes that out of the file. */
export async function putToLeaving(stage: Stage): Promise<boolean> {
  const { world, oracle, actors, plan } = stage;
  if (!(await stage.isReady())) return false;
  const leaving = await emptied(stage);
  if (leaving === undefined) return false;
  const roomy = stage.roomyFile(1);
  const only = stage.roomyFile(1, { backends: [leaving] });
  await stage.apply(only);
  actors.applyUnparked(withoutBackend(roomy, leaving));
  const operator = world.actors.find(({ role }) => role === 'operator')!;
  // It has read the fleet, in which nothing names the backend, and is about to change the file.
  const hasRead = () => (operator.calls.get('read') ?? 0) > 0 && world.isAsking(operator, 'transact');
  let isThere = await stage.untilAt(operator, hasRead);
  if (isThere) {
    world.delay(operator, 'transact', 20_000);
    const client = actors.startClient();
    actors.put(client, stage.random.pick(plan.keys), { timeoutMs: 4 * hour, copies: 1 });
    isThere = await stage.untilAt(
      client.actor,
      () => world.isCommitting(client.actor) && !!written(client.actor, [leaving]),
    );
    // A request of the metadata store may take so long.
    world.delay(client.actor, 'transact', 25_000);
    await stage.settle();
    const isOut = !stage.names().includes(leaving);
    const named = [...stage.namedOn(leaving), ...[...oracle.queue.values()].filter((item) => item.backend === leaving)];
    if (isOut && named.length > 0)
      throw new Violation(
        'places',
        `${leaving} left the file, although something is recorded there and none was to be parked`,
      );
    actors.close(client);
  }
  await stage.settle();
  await stage.apply(roomy);
  return isThere;
}

/** A backend on which nothing is any more; undefined where something stays, as files that were imported do. */
export async function emptied(stage: Stage): Promise<string | undefined> {
  const { oracle, random } = stage;
  const holds = (name: string) => [...oracle.objects.values()].some((entry) => plainCopies(entry).includes(name));
  const able = stage.names().filter((name) => !holds(name));
  if (able.length === 0) return undefined;
  const name = random.pick(able);
  await stage.apply(stage.roomyFile(1, { excludeBackends: [name] }));
  await stage.tick('replicator');
  await stage.tick('over-replication-cleaner');
  const isQueued = () => [...oracle.queue.values()].some(({ backend }) => backend === name);
  // The last wait is for what can be brought back for a day.
  for (const ms of [6 * minute, 6 * minute, 25 * hour]) {
    if (ms > hour && !isQueued()) break;
    await stage.idle(ms);
    await stage.tick('cleanup-queue');
  }
  return stage.namedOn(name).size === 0 && !isQueued() ? name : undefined;
}

function plainCopies(entry: Entry): string[] {
  return entry.kind === 'object' ? Object.keys(entry.copies).filter((name) => entry.copies[name] === '') : [];
}

/** A put makes another copy in place of one whose backend left the file, and is overwritten before it records that. */
export async function secondCopyOverwritten(stage: Stage): Promise<boolean> {
  const { world, oracle, actors, plan } = stage;
  if (!(await stage.isReady())) return false;
  const file = stage.roomyFile(1);
  await stage.apply(file);
  const key = stage.random.pick(plan.keys);
  const client = actors.startClient();
  const { actor } = client;
  const before = oracle.objects.get(key)?.generation;
  actors.put(client, key, { timeoutMs: 4 * hour, copies: 1 });
  const isRecording = () => written(actor, stage.names()) !== undefined && world.isCommitting(actor);
  const isLooking = () => oracle.objects.get(key)?.generation !== before && world.isReadingFleet(actor);
  let isThere = await stage.untilAt(actor, isRecording);
  if (isThere) {
    const left = written(actor, stage.names())!;
    world.pass(6_000);
    isThere = await stage.untilAt(actor, isLooking);
    world.freeze(actor, 12 * hour);
    actors.apply(withoutBackend(file, left));
    await stage.settleBeside(actor);
    world.thawAll();
    const others = stage.names();
    isThere &&= await stage.untilAt(actor, () => written(actor, others) !== undefined && isStoring(stage, actor));
    const second = written(actor, others)!;
    world.freeze(actor, 12 * hour);
    // The other put goes elsewhere.
    if (isThere) actors.apply(withoutBackend(stage.roomyFile(1, { excludeBackends: [second] }), left));
    await stage.settleBeside(actor);
    const another = actors.startClient();
    actors.put(another, key, { copies: 1 });
    await stage.settleBeside(actor);
    world.thawAll();
    await stage.settle();
    actors.close(another);
  }
  await stage.settle();
  actors.close(client);
  await stage.apply(file);
  return isThere;
}
