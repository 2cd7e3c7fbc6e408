import { printable } from '../../base/printable.ts';
import type { QueueLine, QueueList } from '../protocol.ts';
import { act, overview, pathWith } from './api.ts';
import { bytes, count, percent, share, span } from './figures.ts';
import { stateNames } from './overview.tsx';
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

export function QueuePage() {
  const { asked } = route.value;
  const loaded: Loaded<QueueList> = useLoaded(`/api/queue?${asked}`);
  const [state, backend] = [asked.get('state'), asked.get('backend')];
  const kept: Readonly<Record<string, string>> = backend === null ? {} : { backend };
  const dead = overview.value!.queue.find((one) => one.state === 'dead')!.objects;
  return (
    <>
      <h1>Queue</h1>
      <nav class="tabs" aria-label="States">
        <a href={hrefTo('queue', undefined, kept)} aria-current={state === null ? 'page' : undefined}>
          all
        </a>
        {Object.entries(stateNames).map(([one, name]) => (
          <a
            href={hrefTo('queue', undefined, { ...kept, state: one })}
            aria-current={one === state ? 'page' : undefined}
            key={one}
          >
            {name}
          </a>
        ))}
      </nav>
      <Panel
        title={`Bytes that no record names${backend === null ? '' : `, on ${backend}`}`}
        aside={
          <div class="buttons">
            <button type="button" onClick={loaded.reload}>
              Read again
            </button>
            {dead > 0 && <Action run={() => askForAll(dead, loaded.reload)}>Requeue all dead letters …</Action>}
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
                none={
                  next === undefined
                    ? 'There is nothing of this in the queue'
                    : 'Nothing among what was looked at so far'
                }
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

function askForOne({ id, key, backend }: Pick<QueueLine, 'id' | 'key' | 'backend'>, reload: () => void): void {
  question.value = {
    title: 'Requeue this deletion?',
    lines: [`Bytes of ${key} on ${backend} are deleted if the backend lets them go this time.`],
    verb: 'Requeue',
    run: async () => {
      await doing(() => act('requeue', { ids: [id] }));
      reload();
    },
  };
}

function columnsFor(reload: () => void): readonly Column<QueueLine>[] {
  return [
    {
      head: 'Object',
      isLong: true,
      cell: ({ key }) => (
        <a href={hrefTo('object', key)}>
          <Name>{key}</Name>
        </a>
      ),
    },
    {
      head: 'State',
      cell: ({ state }) => <Badge tone={state === 'dead' ? 'bad' : 'neutral'}>{stateNames[state] ?? state}</Badge>,
    },
    { head: 'Backend', cell: ({ backend }) => <a href={hrefTo('backend', backend)}>{backend}</a> },
    { head: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
    { head: 'Queued', cell: ({ createdAt }) => <When at={createdAt} /> },
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
      cell: ({ id, key, backend, state }) =>
        state === 'dead' && (
          <Action label={`Requeue ${printable(key, 'one-line')}`} run={() => askForOne({ id, key, backend }, reload)}>
            Requeue …
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
      <Bar label={`Copied of ${printable(item.key, 'one-line')}`} parts={[{ ratio: done, tone: 'good' }]} />
    </div>
  );
}
