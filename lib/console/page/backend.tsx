import type { BackendFigures, DrainPlanAnswer } from '../protocol.ts';
import { act, ask, overview, pathWith } from './api.ts';
import { bytes, count, percent, usd, utcTime } from './figures.ts';
import { BackendState, Usage } from './overview.tsx';
import { Action, Bar, doing, Fact, notice, Panel, question, When } from './parts.tsx';
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
          <Fact name="This month">
            <Usage backend={backend} />
          </Fact>
          <Fact name="Last pass">
            {pass?.isRunning ? (
              <>
                under way since <When at={pass.startedAt} />
              </>
            ) : (
              <When at={pass?.completedAt} />
            )}
          </Fact>
          <Fact name="Bytes of ours whose object is unknown">{count(unrecorded)}</Fact>
          {backend.unhealthySince !== undefined && (
            <Fact name="Has not answered since">
              {utcTime(backend.unhealthySince)} UTC. <i>Probe now</i> asks it once more.
            </Fact>
          )}
        </dl>
      </Panel>
      {drain !== undefined && <Drain backend={backend} drain={drain} />}
    </>
  );
}

interface DrainProps {
  readonly backend: BackendFigures;
  readonly drain: NonNullable<BackendFigures['drain']>;
}

function Drain({ backend: { name }, drain }: DrainProps) {
  const begun = overview.value!.work.find(({ id }) => id === `drain/${name}`);
  const isEmpty = drain.state === 'settling';
  return (
    <Panel title="Drain">
      <p>
        Since <When at={drain.since} />:{' '}
        {isEmpty
          ? 'nothing names this backend any more.'
          : `${count(drain.left)} objects and queue items are left, ${bytes(drain.leftBytes)}.`}
        {begun?.secondsLeft !== undefined && ` About ${Math.ceil(begun.secondsLeft / 60)} min more.`}
      </p>
      {isEmpty && <Bar label={`Drain of ${name}`} parts={[{ ratio: 1, tone: 'good' }]} />}
      {isEmpty && <p>Once `holdfast drain {name}` says drained, it can leave the fleet file.</p>}
      {drain.damaged > 0 && <p class="problem">{count(drain.damaged)} of them are damaged: verify them by hand.</p>}
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
async function askForDrain(name: string): Promise<void> {
  try {
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
  } catch (error) {
    notice.value = { tone: 'bad', sentence: (error as Error).message };
  }
}

function askForUndrain(name: string): void {
  question.value = {
    title: `End the drain of ${name}?`,
    lines: ['It takes part again with what it still holds. Deletions of the drain that are under way are waited for.'],
    verb: 'Undrain',
    run: () => doing(() => act('undrain', { backend: name })),
  };
}
