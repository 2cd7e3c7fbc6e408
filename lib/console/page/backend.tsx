import type { BackendFigures, DrainPlanAnswer } from '../protocol.ts';
import { act, ask, overview, pathWith } from './api.ts';
import { bytes, count, percent, span, usd, utcTime } from './figures.ts';
import { BackendState, usageNames, usageText } from './overview.tsx';
import { Action, asking, Bar, type Column, doing, Fact, Panel, question, Table, When } from './parts.tsx';
import { hrefTo, route } from './route.ts';

export function BackendPage() {
  const { name } = route.value;
  const backend = overview.value!.backends.find((one) => one.name === name);
  return (
    <>
      <h1>{name}</h1>
      {backend === undefined ? <p class="empty">There is no such backend</p> : <Detail backend={backend} />}
    </>
  );
}

function Detail({ backend }: { readonly backend: BackendFigures }) {
  const { name, isConfigured, drain, pass, unrecorded } = backend;
  return (
    <>
      <Panel title="Backend" aside={isConfigured && <Buttons backend={backend} />}>
        <dl class="facts">
          <Fact name="State">
            <BackendState backend={backend} />
          </Fact>
          <Fact name="Counts towards factors">{backend.isCounted ? 'yes' : 'no'}</Fact>
          <Fact name="Objects">
            <a href={hrefTo('objects', undefined, { backend: name })}>{count(backend.objects)}</a>
          </Fact>
          <Fact name="Recorded">{bytes(backend.recordedBytes)}</Fact>
          <Fact name="In the queue">
            <a href={hrefTo('queue', undefined, { backend: name })}>
              {count(backend.queuedItems)} items, {bytes(backend.queuedBytes)}
            </a>
          </Fact>
          <Fact name="Quota">{backend.quotaBytes === 0 ? 'none' : bytes(backend.quotaBytes)}</Fact>
          <Fact name="Last pass">
            {pass?.isRunning ? (
              <>
                under way since <When at={pass.startedAt} />
              </>
            ) : (
              <When at={pass?.completedAt} />
            )}
          </Fact>
          <Fact name="Files of ours whose object is unknown">
            {count(unrecorded)}
            {unrecorded > 0 && (
              <span class="quiet">
                {' '}
                as of the last pass; <code>holdfast reconcile {name}</code> names them
              </span>
            )}
          </Fact>
          {backend.unhealthySince !== undefined && (
            <Fact name="Has not answered since">
              {utcTime(backend.unhealthySince)} UTC. <i>Probe now</i> asks it once more.
            </Fact>
          )}
        </dl>
      </Panel>
      <Panel title="What was spent">
        {backend.usage === undefined ? (
          <p class="empty">Reading …</p>
        ) : (
          <Table
            caption="What was spent"
            columns={usageColumns}
            rows={backend.usage}
            none="Nothing was spent this month"
            keyOf={({ what, per }) => `${what} ${per}`}
          />
        )}
      </Panel>
      {drain !== undefined && <Drain backend={backend} drain={drain} />}
    </>
  );
}

type UsageOf = NonNullable<BackendFigures['usage']>[number];

const spentNames: Readonly<Record<UsageOf['what'], string>> = {
  ...usageNames,
  egressBytes: 'egress',
  ingressBytes: 'ingress',
  usd: 'dollars',
};

const usageColumns: readonly Column<UsageOf>[] = [
  { head: 'What', cell: ({ what, per }) => `${spentNames[what]}, ${per === 'day' ? 'today' : 'this month'}` },
  {
    head: 'Used',
    isNumber: true,
    cell: (line) => (
      <span class={line.allowed > 0 && line.used >= line.allowed ? 'bad' : ''}>{usageText(line, line.used)}</span>
    ),
  },
  { head: 'Limit', isNumber: true, cell: (line) => (line.allowed === 0 ? 'none' : usageText(line, line.allowed)) },
  { head: 'At this rate by then', isNumber: true, cell: (line) => usageText(line, line.forecast) },
  { head: 'Counted anew', cell: ({ resetsAt }) => <When at={resetsAt} /> },
];

interface DrainProps {
  readonly backend: BackendFigures;
  readonly drain: NonNullable<BackendFigures['drain']>;
}

function Drain({ backend: { name, objects, queuedItems }, drain }: DrainProps) {
  const begun = overview.value!.work.find(({ id }) => id === `drain/${name}`);
  const isEmpty = drain.state === 'settling';
  return (
    <Panel title="Drain">
      <p>
        Since <When at={drain.since} />:{' '}
        {isEmpty ? (
          'nothing names this backend any more.'
        ) : (
          <>
            <a href={hrefTo('objects', undefined, { backend: name })}>{count(objects)} objects</a> and{' '}
            <a href={hrefTo('queue', undefined, { backend: name })}>{count(queuedItems)} queue items</a> are left,{' '}
            {bytes(drain.leftBytes)}.
          </>
        )}
        {begun?.secondsLeft !== undefined && ` About ${span(begun.secondsLeft)} more.`}
      </p>
      {isEmpty && <Bar label={`Drain of ${name}`} parts={[{ ratio: 1, tone: 'good' }]} />}
      {isEmpty && (
        <p>
          Once <code>holdfast drain {name}</code> says drained, it can leave the fleet file.
        </p>
      )}
      {drain.damaged > 0 && (
        <p class="problem">
          <a href={hrefTo('objects', undefined, { which: 'damaged', backend: name })}>
            {count(drain.damaged)} of them are damaged
          </a>
          : the drain waits for them. Verify them one by one.
        </p>
      )}
      {drain.deletesImported && <p>Imported files there are deleted once they are elsewhere.</p>}
    </Panel>
  );
}

function Buttons({ backend: { name, drain, quotaBytes, usedBytes } }: { readonly backend: BackendFigures }) {
  return (
    <div class="buttons">
      {quotaBytes > 0 && <span class="quiet">{percent(usedBytes / quotaBytes)} used</span>}
      <Action run={() => doing(() => act('probe', { backend: name }))}>Probe now</Action>
      <a class="button" href={hrefTo('import', undefined, { backend: name })}>
        Import
      </a>
      {drain === undefined ? (
        <Action isDangerous run={() => askForDrain(name)}>
          Drain …
        </Action>
      ) : (
        <Action run={() => askForUndrain(name)}>Undrain …</Action>
      )}
    </div>
  );
}

/** What it would do comes first. */
function askForDrain(name: string): Promise<void> {
  return asking(async () => {
    const plan = await ask<DrainPlanAnswer>(pathWith('/api/drain-plan', { backend: name }));
    question.value = {
      title: `Drain ${name}?`,
      lines: [
        `It holds ${count(plan.holds.objects)} objects, ${bytes(plan.holds.bytes)}.`,
        `${count(plan.copies.objects)} copies are to be made elsewhere: ${bytes(plan.copies.bytes)}${plan.egressUsd === 0 ? '' : `, at most ${usd(plan.egressUsd)} for egress`}.`,
        ...(plan.imported.objects === 0 ? [] : [`${count(plan.imported.objects)} imported files are there.`]),
        ...plan.warnings,
        'It takes nothing new from now on. Undrain ends the drain.',
      ],
      verb: 'Drain',
      isDangerous: true,
      ...(plan.imported.objects > 0 && { option: 'Delete the imported files once they are elsewhere' }),
      run: (deleteImported) => doing(() => act('drain', { backend: name, ...(deleteImported && { deleteImported }) })),
    };
  });
}

function askForUndrain(name: string): void {
  question.value = {
    title: `End the drain of ${name}?`,
    lines: ['It takes part again with what it still holds. Deletions of the drain that are under way are waited for.'],
    verb: 'Undrain',
    run: () => doing(() => act('undrain', { backend: name })),
  };
}
