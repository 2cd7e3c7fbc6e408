import { requeueDead, requeueItems } from '../../operations/requeue.ts';
import { lane, shards } from '../../store/keys.ts';
import { type QueueItem, type QueueState, queueStates } from '../../store/model.ts';
import { bytes, escaped, plural, table, timestamp } from '../format.ts';
import { wholeNumber } from '../numbers.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

type Fleet = Awaited<ReturnType<typeof fleetNow>>;

interface ListOptions {
  readonly limit: number;
}

const pageSize = 100;

/** `queue`, `queue dead`, `queue requeue`: bytes that no record names. */
export const queueVerbs: VerbGroup = (program, verb) => {
  const queue = program.command('queue').description('show the queue: intents, transfers, cleanups and dead items');
  const limit = ['--limit <n>', 'items to show at most', wholeNumber(1, 100_000), 50] as const;
  verb<ListOptions>(
    queue
      .command('list', { isDefault: true })
      .description('totals, and what is due next')
      .option(...limit),
    list,
  );
  verb<ListOptions>(
    queue
      .command('dead')
      .description('items whose deletion was given up')
      .option(...limit),
    dead,
  );
  verb(
    queue.command('requeue [ids...]').description('try dead items again from the start: those named, or all'),
    requeue,
  );
};

async function list(session: Session, _args: Arguments, { limit }: ListOptions): Promise<Result> {
  const fleet = await fleetNow(session);
  const totals = queueStates.flatMap((state) =>
    backendsOf(fleet).flatMap((backend) => {
      const count = fleet.queue(state, backend);
      return count.objects === 0 && count.bytes === 0 ? [] : [{ state, backend, ...count }];
    }),
  );
  const items: QueueItem[] = [];
  for (const state of queueStates) items.push(...(await itemsOf(session, fleet, state, limit)));
  items.sort((a, b) => a.dueAt - b.dueAt);
  const next = items.slice(0, limit);
  if (totals.length === 0 && next.length === 0)
    return { text: 'the queue is empty', document: { totals, items: next } };
  const sums = table(
    ['STATE', 'BACKEND', 'ITEMS', 'SIZE'],
    totals.map((t) => [t.state, t.backend, t.objects, bytes(t.bytes)]),
  );
  return { text: `${sums}\n\n${itemTable(next)}`, document: { totals, items: next } };
}

async function dead(session: Session, _args: Arguments, { limit }: ListOptions): Promise<Result> {
  const fleet = await fleetNow(session);
  const items = await itemsOf(session, fleet, 'dead', limit);
  const lines = items.map(({ id, lastError }) => `${escaped(id)}\n  ${escaped(lastError ?? 'no error recorded')}`);
  return { text: items.length === 0 ? 'nothing is dead' : lines.join('\n'), document: { items } };
}

async function requeue(session: Session, args: readonly unknown[]): Promise<Result> {
  const ids = args[0] as readonly string[];
  await fleetNow(session);
  session.ifBrokenOff('What was requeued stays so; the same command again does the rest');
  const requeued = ids.length === 0 ? await requeueDead(session.process()) : await requeueItems(session.process(), ids);
  const missed = ids.length === 0 ? 0 : ids.length - requeued;
  const rest = missed === 0 ? '' : `; ${plural(missed, 'item')} not: gone, or not dead`;
  return {
    text: `requeued ${plural(requeued, 'item')}${rest}`,
    document: { requeued, missed },
    exitCode: missed === 0 ? 0 : 1,
  };
}

function backendsOf(fleet: Fleet): string[] {
  return [...new Set([...fleet.config.file.backends.map(({ name }) => name), ...fleet.namedBackends()])];
}

/** Items of one state, lane by lane, up to `limit` of each lane, soonest due first. */
async function itemsOf(session: Session, fleet: Fleet, state: QueueState, limit: number): Promise<QueueItem[]> {
  const { store } = session.process();
  const items: QueueItem[] = [];
  for (const backend of backendsOf(fleet)) {
    if (fleet.queue(state, backend).objects === 0) continue;
    for (const shard of shards) {
      let after: string | undefined;
      let left = limit;
      do {
        const size = Math.min(pageSize, left);
        const page = await store.due(lane(state, backend, shard), Number.MAX_SAFE_INTEGER, size, after);
        items.push(...page.items);
        left -= page.items.length;
        after = page.next;
      } while (after !== undefined && left > 0);
    }
  }
  return items.sort((a, b) => a.dueAt - b.dueAt).slice(0, limit);
}

function itemTable(items: readonly QueueItem[]): string {
  return table(
    ['STATE', 'DUE (UTC)', 'ATTEMPTS', 'REASON', 'ITEM'],
    items.map((i) => [i.state, timestamp(i.dueAt), i.attempts, escaped(i.reason), escaped(i.id)]),
  );
}
