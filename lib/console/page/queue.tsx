import type { QueueLine, QueueList } from '../protocol.ts';
import { act, overview, pathWith } from './api.ts';
import { bytes, count, percent, share, span } from './figures.ts';
import {
  Action,
  Awaited,
  Badge,
  Bar,
  type Column,
  doing,
  type Loaded,
  Name,
  Panel,
  question,
  Table,
  useLoaded,
  When,
} from './parts.tsx';
import { hrefTo, route } from './route.ts';

const states = ['intent', 'transfer', 'cleanup', 'dead'];

export function QueuePage() {
  const { asked } = route.value;
  const loaded: Loaded<QueueList> = useLoaded(`/api/queue?${asked}`);
  const state = asked.get('state');
  const dead = overview.value!.queue.find((one) => one.state === 'dead')!.objects;
  return (
    <>
      <h1>Queue</h1>
      <nav class="tabs" aria-label="States">
        <a href={hrefTo('queue')} aria-current={state === null ? 'page' : undefined}>
          all
        </a>
        {states.map((one) => (
          <a
            href={hrefTo('queue', undefined, { state: one })}
            aria-current={one === state ? 'page' : undefined}
            key={one}
          >
            {one}
          </a>
        ))}
      </nav>
      <Panel
        title={`Bytes that no record names${asked.has('backend') ? `, on ${asked.get('backend')}` : ''}`}
        aside={
          <div class="buttons">
            <button type="button" onClick={loaded.reload}>
              Read again
            </button>
            {dead > 0 && <Action run={() => askForAll(dead, loaded.reload)}>Requeue dead letters</Action>}
          </div>
        }
      >
        <Awaited of={loaded}>
          {({ items, next }) => (
            <>
              <Table
                caption="Queue items"
                columns={columnsFor(loaded.reload)}
                rows={items}
                none="There is nothing in the queue"
                keyOf={({ id }) => id}
              />
              {next !== undefined && (
                <a href={pathWith('#/queue', { ...Object.fromEntries(asked), after: next })}>Show the next ones</a>
              )}
            </>
          )}
        </Awaited>
      </Panel>
    </>
  );
}

function askForAll(dead: number, reload: () => void): void {
  question.value = {
    title: `Requeue ${count(dead)} dead ${dead === 1 ? 'letter' : 'letters'}?`,
    lines: ['Each deletion that was given up is tried again from the start, at once.'],
    verb: 'Requeue',
    run: async () => {
      await doing(() => act('requeue', {}));
      reload();
    },
  };
}

function columnsFor(reload: () => void): readonly Column<QueueLine>[] {
  return [
    {
      head: 'Object',
      cell: ({ key }) => (
        <a href={hrefTo('object', key)}>
          <Name>{key}</Name>
        </a>
      ),
    },
    { head: 'State', cell: ({ state }) => <Badge tone={state === 'dead' ? 'bad' : 'neutral'}>{state}</Badge> },
    { head: 'Backend', cell: ({ backend }) => backend },
    { head: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
    { head: 'Due', cell: ({ dueAt, state }) => (state === 'dead' ? 'given up' : <When at={dueAt} />) },
    {
      head: 'Why',
      cell: (item) => (
        <div>
          {item.reason}
          {item.attempts > 0 && <div class="quiet">{count(item.attempts)} attempts</div>}
          {item.lastError !== undefined && (
            <div class="quiet">
              <Name>{item.lastError}</Name>
            </div>
          )}
          {item.transfer !== undefined && <Transfer item={item} of={item.transfer} />}
        </div>
      ),
    },
    {
      head: 'Action',
      cell: ({ id, key, state }) =>
        state === 'dead' && (
          <Action
            label={`Requeue ${key}`}
            run={async () => {
              await doing(() => act('requeue', { ids: [id] }));
              reload();
            }}
          >
            Requeue
          </Action>
        ),
    },
  ];
}

function Transfer({ item, of }: { readonly item: QueueLine; readonly of: NonNullable<QueueLine['transfer']> }) {
  const done = share(of.doneBytes, item.sizeBytes);
  return (
    <div class="used">
      <span class="quiet">
        {percent(done)} from {of.from}
        {of.bytesPerSecond !== undefined && `, ${bytes(of.bytesPerSecond)}/s`}
        {of.secondsLeft !== undefined && `, ${span(of.secondsLeft)} left`}
      </span>
      <Bar label={`Copied of ${item.key}`} parts={[{ ratio: done, tone: 'good' }]} />
    </div>
  );
}
