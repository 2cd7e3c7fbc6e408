import type { WorkerFigures } from '../protocol.ts';
import { act, overview } from './api.ts';
import { count } from './figures.ts';
import { Action, Badge, type Column, doing, Panel, question, Table, When } from './parts.tsx';

export function WorkersPage() {
  const { workers } = overview.value!;
  return (
    <>
      <h1>Workers</h1>
      <Panel title="Workers">
        <WorkerTable workers={workers} />
      </Panel>
    </>
  );
}

export function WorkerTable({ workers }: { readonly workers: readonly WorkerFigures[] }) {
  return (
    <Table caption="Workers" columns={columns} rows={workers} none="There are no workers" keyOf={({ name }) => name} />
  );
}

const columns: readonly Column<WorkerFigures>[] = [
  { head: 'Worker', cell: ({ name }) => name },
  { head: 'State', cell: (worker) => <State worker={worker} /> },
  { head: 'Last work', cell: ({ last }) => <When at={last?.at} /> },
  { head: 'Outcome', cell: ({ last }) => (last === undefined ? '' : <Outcome last={last} />) },
  {
    head: 'Next due',
    cell: ({ nextDueAt, schedule }) =>
      nextDueAt === undefined ? <span class="quiet">{schedule}</span> : <When at={nextDueAt} />,
  },
  { head: 'Action', cell: (worker) => <PauseOrResume worker={worker} /> },
];

function State({ worker: { isPaused, isRunning, isEnabled } }: { readonly worker: WorkerFigures }) {
  if (isPaused) return <Badge tone="warn">paused</Badge>;
  if (isRunning) return <Badge tone="good">running</Badge>;
  return isEnabled ? <Badge tone="neutral">waiting</Badge> : <Badge tone="neutral">off</Badge>;
}

function Outcome({ last }: { readonly last: NonNullable<WorkerFigures['last']> }) {
  const { outcome, planned, succeeded, failed, skipped, deferred, reasons } = last;
  const counts = Object.entries({ failed, skipped, deferred }).filter(([, amount]) => amount > 0);
  const tone = outcome === 'success' || outcome === 'empty' ? 'good' : 'warn';
  return (
    <div>
      <Badge tone={tone}>{outcome}</Badge>{' '}
      {planned > 0 && (
        <span class="quiet">
          {count(succeeded)} of {count(planned)}
          {counts.map(([name, amount]) => `, ${count(amount)} ${name}`).join('')}
        </span>
      )}
      {Object.entries(reasons).map(([reason, times]) => (
        <div class="quiet" key={reason}>
          {count(times)} × {reason}
        </div>
      ))}
    </div>
  );
}

function PauseOrResume({ worker: { name, isPaused } }: { readonly worker: WorkerFigures }) {
  if (isPaused)
    return (
      <Action label={`Resume ${name}`} run={() => doing(() => act('resume', { worker: name }))}>
        Resume
      </Action>
    );
  const ask = () => {
    question.value = {
      title: `Pause the ${name}?`,
      lines: ['Its ticks do nothing until it is resumed. What is in flight ends first.'],
      verb: 'Pause',
      run: () => doing(() => act('pause', { worker: name })),
    };
  };
  return (
    <Action label={`Pause ${name}`} run={ask}>
      Pause
    </Action>
  );
}
