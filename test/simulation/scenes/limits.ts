import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Actor } from '../operation.ts';
import { Violation } from '../oracle/violation.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;
const nothing = { requests: 0, classA: 0, classB: 0, egressBytes: 0, ingressBytes: 0, usd: 0 };
/** One write spends it; so does one read. */
const spentByOne = [
  { classA: 1, classB: 1, egressBytes: 1 },
  { usd: 1, egressBytes: 1 },
];
const resets = [0, 7, 23].flatMap((hour) =>
  ['UTC', 'America/Los_Angeles', 'Asia/Kolkata', 'Pacific/Chatham'].map((zone) => ({ hour, zone })),
);

/**
 * A limit of every backend is spent: reads of applications, deletions and what these need go on, and nothing is written before
 * the provider's clocks show the hour at which it counts anew.
 */
export async function limitSpent(stage: Stage): Promise<boolean> {
  const { random, world, idle } = stage;
  if (!(await stage.isReady())) return false;
  const all = stage.names();
  await stage.apply(unlimited(stage, all.length));
  const record = await stage.putNew(all.length, 8);
  const limitsReset = random.pick(resets);
  const dailyLimits = { ...nothing, ...random.pick(spentByOne) };
  const resetAt = nextReset(world.now, limitsReset);
  if (record === undefined || resetAt - world.now < 60 * minute) return false;
  const { backends, ...file } = unlimited(stage, all.length);
  const prices = { usdPerMillionA: 1_000_000, usdPerMillionB: 0, egressUsdPerGb: 0 };
  const limited = (limits: object): FleetFile => ({
    ...file,
    backends: backends.map((one) => ({ ...one, ...prices, dailyLimits: { ...dailyLimits, ...limits }, limitsReset })),
  });
  await stage.apply(limited({}));
  await readTwice(stage, record.key);
  await putNothing(stage, record.key);
  // Whatever class a deletion is of, it is a request.
  await stage.apply(limited({ requests: 1 }));
  await stage.asClient((client) => stage.actors.remove(client, record.key));
  await idle(7 * minute);
  await stage.tick('cleanup-queue');
  await stage.apply(limited({}));
  const left = all.filter((name) => stage.bucket(name).peek(stage.storageOf(record, name)) !== undefined);
  if (left.length > 0)
    throw new Violation(
      'limits',
      `What was deleted is still on ${left.join(', ')}, whose limits are spent`,
      record.key,
    );
  await idle(resetAt - 2 * minute - world.now);
  await putNothing(stage, record.key);
  await idle(4 * minute);
  await stage.asClient((client) => stage.actors.put(client, record.key, { copies: 1, sizeBytes: 8 }));
  if (stage.recordOf(record.key) === undefined)
    throw new Violation('limits', 'Another period has begun, and nothing is put', record.key);
  await stage.apply(unlimited(stage, 2));
  return true;
}

function unlimited(stage: Stage, factor: number): FleetFile {
  const { backends, ...file } = stage.roomyFile(factor, { encrypt: false });
  return { ...file, backends: backends.map((one) => ({ ...one, limits: nothing, dailyLimits: nothing })) };
}

/** The next quarter of an hour at which the day of a zone begins anew: its clocks are asked what they show. */
function nextReset(now: number, { hour, zone }: { readonly hour: number; readonly zone: string }): number {
  const inZone = { timeZone: zone, hourCycle: 'h23' } as const;
  const dayOf = (time: number) => {
    const date = new Date(time);
    const localHour = Number(date.toLocaleString('en-GB', { ...inZone, hour: '2-digit' }));
    return new Date(time - (localHour < hour ? 86_400_000 : 0)).toLocaleDateString('en-CA', inZone);
  };
  const today = dayOf(now);
  let at = now - (now % (15 * minute));
  while (dayOf(at) === today) at += 15 * minute;
  return at;
}

/** A spent budget does not look like an outage. */
async function readTwice({ actors, asClient }: Stage, key: string): Promise<void> {
  const before = actors.failures.length;
  for (let time = 0; time < 2; time += 1) await asClient((client) => actors.read(client, key));
  const failure = actors.failures[before];
  if (failure !== undefined) throw new Violation('limits', `An application cannot read: ${failure}`, key);
}

/** Neither an application nor a worker writes anything. */
async function putNothing(stage: Stage, key: string): Promise<void> {
  const { actors, settle } = stage;
  const writers: Actor[] = [];
  await stage.asClient((client) => {
    writers.push(client.actor);
    actors.put(client, key, { copies: 1, sizeBytes: 8 });
  });
  const { actor } = actors.startTick('replicator', {}, 900_000);
  await settle();
  for (const { name, calls } of [...writers, actor])
    for (const call of calls.keys())
      if (/ (PUT|COPY|create-upload|part-)/.test(call))
        throw new Violation('limits', `${name} sends "${call}" where the limit is spent`, key);
}
