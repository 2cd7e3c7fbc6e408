import type {
  AttentionFigures,
  BackendFigures,
  JobFigures,
  Overview,
  PlacementFigures,
  WorkFigures,
} from '../protocol.ts';
import { overview } from './api.ts';
import { ago, bytes, count, now, percent, share, span, usd, utcTime } from './figures.ts';
import { JobList } from './jobs.tsx';
import { Badge, Bar, type Column, Name, Panel, Table, When } from './parts.tsx';
import { hrefTo } from './route.ts';
import { WorkerTable } from './workers.tsx';

export function OverviewPage() {
  const fleet = overview.value!;
  return (
    <>
      <h1>Fleet</h1>
      <Headline fleet={fleet} />
      <Attention fleet={fleet} />
      <Panel title="Backends" id="backends">
        <Table
          caption="Backends"
          columns={backendColumns}
          rows={fleet.backends}
          none="The fleet file names no backend"
          keyOf={({ name }) => name}
        />
      </Panel>
      <div class="columns">
        <Copies fleet={fleet} />
        <Queue fleet={fleet} />
        <Scrub fleet={fleet} />
      </div>
      <UnderWay work={fleet.work} jobs={fleet.jobs} />
      <Panel title="Workers">
        <WorkerTable workers={fleet.workers} />
      </Panel>
      <div class="columns wide">
        <Changes fleet={fleet} />
        <Placements fleet={fleet} />
      </div>
    </>
  );
}

function Headline({ fleet }: { readonly fleet: Overview }) {
  const dead = fleet.queue.find(({ state }) => state === 'dead')!;
  const waiting = fleet.queue.reduce((sum, { objects }) => sum + objects, 0) - dead.objects;
  const configured = fleet.backends.filter(({ isConfigured }) => isConfigured);
  const unreachable = configured.filter(({ breaker }) => breaker !== 'closed');
  return (
    <dl class="headline">
      <Figure name="Objects" value={count(fleet.objects)} href={hrefTo('objects')} />
      <Figure name="Content" value={bytes(fleet.bytes)} href={hrefTo('objects')} />
      <Figure
        name="Backends that answer"
        value={`${configured.length - unreachable.length} of ${configured.length}`}
        tone={unreachable.length === 0 ? '' : 'bad'}
        below="backends"
      />
      <Figure name="In the queue" value={count(waiting)} href={hrefTo('queue')} />
      <Figure
        name="Dead letters"
        value={count(dead.objects)}
        tone={dead.objects === 0 ? '' : 'bad'}
        href={hrefTo('queue', undefined, { state: 'dead' })}
      />
    </dl>
  );
}

interface FigureProps {
  readonly name: string;
  readonly value: string;
  readonly tone?: string;
  /** Where its list is: another page, or a panel further down in this one. */
  readonly href?: string;
  readonly below?: string;
}

function Figure({ name, value, tone = '', href = '#/', below }: FigureProps) {
  const go = (event: MouseEvent) => {
    if (below === undefined) return;
    event.preventDefault();
    const panel = document.getElementById(below);
    panel?.scrollIntoView();
    panel?.focus();
  };
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd class={tone}>
        <a href={href} onClick={go}>
          {value}
        </a>
      </dd>
    </div>
  );
}

const titles: Readonly<Record<AttentionFigures['name'], string>> = {
  'under-replicated': 'Under-replicated',
  'at-risk': 'At risk',
  damaged: 'Damaged',
  stuck: 'Stuck',
  misplaced: 'Badly spread',
  'over-replicated': 'Over-replicated',
};

const tones: Readonly<Record<AttentionFigures['name'], 'bad' | 'warn'>> = {
  'under-replicated': 'bad',
  'at-risk': 'bad',
  damaged: 'bad',
  stuck: 'bad',
  misplaced: 'warn',
  'over-replicated': 'warn',
};

/** For whoever looks before there is anything to see. */
function FirstSteps() {
  return (
    <>
      {' '}
      There are no objects yet: <code>holdfast put</code> stores one, and an <a href={hrefTo('import')}>import</a> makes
      objects of files that are already there.
    </>
  );
}

function Attention({ fleet }: { readonly fleet: Overview }) {
  const { attention, concerns } = fleet;
  const some = attention.filter(({ objects }) => objects > 0);
  return (
    <Panel title="What needs a look">
      {some.length + concerns.length === 0 ? (
        <p class="all-well">
          <Badge tone="good">all is well</Badge> Every object has the copies that its policy asks for, and every backend
          answers.
          {fleet.objects === 0 && <FirstSteps />}
        </p>
      ) : (
        <ul class="attention">
          {some.map(({ name, objects, reasons }) => (
            <li key={name}>
              <a class={`amount ${tones[name]}`} href={hrefTo('objects', undefined, { which: name })}>
                {count(objects)} {titles[name].toLowerCase()}
              </a>
              {reasons.map((reason) => (
                <div class="why" key={reason}>
                  <Name>{reason}</Name>
                </div>
              ))}
            </li>
          ))}
          {concerns.map(({ tone, sentence, why, href }) => (
            <li key={sentence}>
              <a class={`amount ${tone}`} href={href}>
                <Name>{sentence}</Name>
              </a>
              {why !== undefined && (
                <div class="why">
                  <Name>{why}</Name>
                </div>
              )}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

const backendColumns: readonly Column<BackendFigures>[] = [
  { head: 'Backend', cell: ({ name }) => <a href={hrefTo('backend', name)}>{name}</a> },
  { head: 'State', cell: (backend) => <BackendState backend={backend} /> },
  {
    head: 'Objects',
    isNumber: true,
    cell: ({ name, objects }) => <a href={hrefTo('objects', undefined, { backend: name })}>{count(objects)}</a>,
  },
  { head: 'Used', cell: (backend) => <Used backend={backend} /> },
  {
    head: 'Orphaned',
    isNumber: true,
    cell: ({ name, queuedBytes, queuedItems }) =>
      queuedItems === 0 ? (
        <span class="quiet">none</span>
      ) : (
        <a href={hrefTo('queue', undefined, { backend: name })}>{bytes(queuedBytes)}</a>
      ),
  },
  {
    head: 'Free',
    isNumber: true,
    cell: ({ quotaBytes, usedBytes }) =>
      quotaBytes === 0 ? <span class="quiet">no quota</span> : bytes(Math.max(0, quotaBytes - usedBytes)),
  },
  { head: 'This month', cell: (backend) => <Usage backend={backend} /> },
  { head: 'Last pass', cell: ({ pass }) => (pass?.isRunning ? 'under way' : <When at={pass?.completedAt} />) },
];

export function BackendState({ backend }: { readonly backend: BackendFigures }) {
  const { isConfigured, isLeaving, breaker, failures, unhealthySince, probeAfter, reason, drain, takesNoWrites } =
    backend;
  if (!isConfigured) return <Badge tone="warn">parked</Badge>;
  const isFine = breaker === 'closed' && failures === 0 && !isLeaving && !drain && !takesNoWrites;
  return (
    <div class="states">
      {isFine && <Badge tone="good">ok</Badge>}
      {breaker !== 'closed' && (
        <span>
          <Badge tone="bad">breaker {breaker}</Badge>{' '}
          <span class="quiet">
            {unhealthySince !== undefined && (
              <>
                since <When at={unhealthySince} />,{' '}
              </>
            )}
            {nextTry(probeAfter)}
            {reason !== undefined && (
              <>
                {' '}
                It said: <Name>{reason}</Name>
              </>
            )}
          </span>
        </span>
      )}
      {breaker === 'closed' && failures > 0 && <Badge tone="warn">failing, {failures} in a row</Badge>}
      {drain && (
        <span>
          <Badge tone="neutral">{drain.state === 'settling' ? 'drained' : 'draining'}</Badge>{' '}
          <span class="quiet">{drain.state === 'settling' ? 'nothing names it' : `${count(drain.left)} left`}</span>
        </span>
      )}
      {isLeaving && <Badge tone="neutral">leaving</Badge>}
      {takesNoWrites && (
        <span>
          <Badge tone="bad">takes no writes</Badge>{' '}
          <span class="quiet">
            since <When at={takesNoWrites.since} />, {nextTry(takesNoWrites.retryAt)}{' '}
            <Name>{takesNoWrites.message}</Name>
          </span>
        </span>
      )}
    </div>
  );
}

/** Until when it is left alone. */
function nextTry(at: number | undefined): string {
  if (at === undefined) return 'asked again soon.';
  return at > overview.value!.now ? `asked again ${ago(at)}.` : 'to be asked again by the next tick.';
}

function Used({ backend: { name, usedBytes, queuedBytes, quotaBytes } }: { readonly backend: BackendFigures }) {
  if (quotaBytes === 0) return <>{bytes(usedBytes)}</>;
  const recorded = share(usedBytes - queuedBytes, quotaBytes);
  const queued = share(queuedBytes, quotaBytes);
  return (
    <div class="used">
      <span>
        {bytes(usedBytes)} <span class="quiet">of {bytes(quotaBytes)}</span>
      </span>
      <Bar
        label={`Used of ${name}`}
        parts={[
          { ratio: recorded, tone: recorded + queued > 0.9 ? 'bad' : 'good' },
          { ratio: queued, tone: 'warn' },
        ]}
      />
    </div>
  );
}

type UsageOf = NonNullable<BackendFigures['usage']>[number];

export const usageNames: Readonly<Record<UsageOf['what'], string>> = {
  requests: 'requests',
  classA: 'class A requests',
  classB: 'class B requests',
  egressBytes: 'out',
  ingressBytes: 'in',
  usd: '',
};

export function usageText({ what }: Pick<UsageOf, 'what'>, value: number): string {
  if (what === 'usd') return usd(value);
  return what.endsWith('Bytes') ? bytes(value) : count(value);
}

/** What has a limit, and what most people ask for; the backend's own page has all of it. */
function Usage({ backend: { usage } }: { readonly backend: BackendFigures }) {
  if (usage === undefined) return <span class="quiet">…</span>;
  if (usage.length === 0) return <span class="quiet">nothing</span>;
  const shown = usage.filter(({ what, allowed }) => allowed > 0 || !what.startsWith('class'));
  return (
    <ul class="usage">
      {shown.map((line) => {
        const { what, per, used, allowed } = line;
        return (
          <li class={allowed > 0 && used >= allowed ? 'bad' : ''} key={`${what} ${per}`}>
            {usageText(line, used)}
            {allowed > 0 && ` of ${usageText(line, allowed)}`} {usageNames[what]}
            {per === 'day' && ' today'}
          </li>
        );
      })}
    </ul>
  );
}

function Copies({ fleet: { byCopies, objects } }: { readonly fleet: Overview }) {
  const last = byCopies.length - 1;
  return (
    <Panel title="By counted copies">
      <ul class="rows">
        {byCopies.map((amount, copies) => {
          const name = `${copies}${copies === last ? ' or more' : ''} ${copies === 1 ? 'copy' : 'copies'}`;
          return (
            <li key={name}>
              <span>{name}</span>
              <Bar label={name} parts={[{ ratio: share(amount, objects), tone: copies === 0 ? 'bad' : 'good' }]} />
              <a href={hrefTo('objects', undefined, { copies: String(copies) })}>{count(amount)}</a>
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}

export const stateNames: Readonly<Record<string, string>> = {
  intent: 'puts under way',
  transfer: 'big copies',
  cleanup: 'to delete',
  dead: 'dead letters',
};

/** Which worker looks after a state, and tells how late it is with it. */
const keepers: Readonly<Record<string, string>> = { intent: 'pending-reaper', cleanup: 'cleanup-queue' };

function Queue({ fleet: { queue, workers } }: { readonly fleet: Overview }) {
  const lastOf = (state: string) => workers.find(({ name }) => name === keepers[state])?.last;
  return (
    <Panel title="Queue">
      <ul class="rows">
        {queue.map(({ state, objects, bytes: size }) => (
          <li key={state}>
            <span>{stateNames[state] ?? state}</span>
            <span class="quiet">
              {objects > 0 && bytes(size)}
              {objects > 0 && <Overdue last={lastOf(state)} />}
            </span>
            <a href={hrefTo('queue', undefined, { state })}>{count(objects)}</a>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Overdue({ last }: { readonly last: Overview['workers'][number]['last'] }) {
  const seconds = last?.queueOldestSeconds ?? 0;
  if (last === undefined || seconds === 0) return null;
  return (
    <>
      {`; the oldest had been due for ${span(seconds)} when looked at `}
      <When at={last.at} />
    </>
  );
}

function Scrub({ fleet: { scrub, recovery } }: { readonly fleet: Overview }) {
  return (
    <Panel title="Scrub cycle">
      {recovery !== undefined && (
        <p class="problem">
          A recovery is due since <When at={recovery.since} />: nothing is deleted before it is complete.
        </p>
      )}
      {scrub === undefined ? (
        <p class="empty">The scrubber has not worked yet</p>
      ) : (
        <>
          <p>
            {percent(scrub.share)} of the cycle is read. Every copy was read, written or imported within the last{' '}
            {span((now() - scrub.oldestVerifiedAt) / 1000)}.
          </p>
          <Bar label="Scrub cycle" parts={[{ ratio: scrub.share, tone: 'good' }]} />
          {scrub.owed.length > 0 && (
            <details>
              <summary>
                {count(scrub.owed.length)} copies could not be read, or not to their end, and are tried again
              </summary>
              <ul>
                {scrub.owed.map(({ key, backend }) => (
                  <li key={`${backend} ${key}`}>
                    <a href={hrefTo('object', key)}>
                      <Name>{key}</Name>
                    </a>{' '}
                    on {backend}
                  </li>
                ))}
              </ul>
            </details>
          )}
        </>
      )}
    </Panel>
  );
}

function UnderWay({ work, jobs }: { readonly work: readonly WorkFigures[]; readonly jobs: readonly JobFigures[] }) {
  const running = jobs.filter(({ state }) => state === 'running');
  const ended = jobs.filter(({ state }) => state !== 'running');
  return (
    <>
      {work.length + running.length > 0 && (
        <Panel title="Under way">
          <JobList jobs={running} />
          {work.length > 0 && (
            <Table
              caption="Work under way"
              columns={workColumns}
              rows={work}
              none="Nothing is under way"
              keyOf={({ id }) => id}
            />
          )}
        </Panel>
      )}
      {ended.length > 0 && (
        <Panel title="Asked for here, and ended">
          <JobList jobs={ended.slice(0, shownJobs)} />
          {ended.length > shownJobs && <a href={hrefTo('import')}>All that was asked for here</a>}
        </Panel>
      )}
    </>
  );
}

const shownJobs = 3;

const workColumns: readonly Column<WorkFigures>[] = [
  { head: 'Work', cell: ({ what, href }) => (href === undefined ? what : <a href={href}>{what}</a>) },
  {
    head: 'Left',
    isNumber: true,
    cell: ({ remaining, doneOf }) => {
      if (doneOf !== undefined) return `${doneOf.done} of ${doneOf.all} ranges done`;
      const { objects, bytes: size } = remaining!;
      return `${count(objects)}${size > 0 ? ` (${bytes(size)})` : ''}`;
    },
  },
  {
    head: 'Rate',
    isNumber: true,
    cell: ({ objectsPerSecond, bytesPerSecond }) => {
      if (objectsPerSecond === undefined) return <span class="quiet">no progress yet</span>;
      const more = bytesPerSecond === undefined ? '' : `, ${bytes(bytesPerSecond)}/s`;
      return `${objectsPerSecond < 10 ? objectsPerSecond.toFixed(1) : count(objectsPerSecond)}/s${more}`;
    },
  },
  {
    head: 'Time left',
    isNumber: true,
    cell: ({ secondsLeft }) => (secondsLeft === undefined ? <span class="quiet">unknown</span> : span(secondsLeft)),
  },
];

const shownChanges = 12;

function Changes({ fleet: { changes } }: { readonly fleet: Overview }) {
  const older = changes.slice(shownChanges);
  return (
    <Panel title="Recent changes">
      {changes.length === 0 && <p class="empty">Nothing changed since this console was started</p>}
      <Timeline changes={changes.slice(0, shownChanges)} />
      {older.length > 0 && (
        <details>
          <summary>{count(older.length)} older</summary>
          <Timeline changes={older} />
        </details>
      )}
    </Panel>
  );
}

function Timeline({ changes }: { readonly changes: Overview['changes'] }) {
  return (
    <ol class="timeline">
      {changes.map(({ at, kind, sentence }) => (
        <li class={kind} key={`${at} ${sentence}`}>
          <time dateTime={new Date(at).toISOString()} title={`${utcTime(at)} UTC`}>
            {ago(at)}
          </time>
          <span>{sentence}</span>
        </li>
      ))}
    </ol>
  );
}

const shownPlacements = 20;

const placementColumns: readonly Column<PlacementFigures>[] = [
  {
    head: 'Placement',
    cell: ({ label }) => <a href={hrefTo('objects', undefined, { placement: label })}>{label}</a>,
  },
  { head: 'Objects', isNumber: true, cell: ({ objects }) => count(objects) },
  { head: 'Size', isNumber: true, cell: ({ bytes: size }) => bytes(size) },
];

function Placements({ fleet: { placements, otherPlacements } }: { readonly fleet: Overview }) {
  const more = placements.slice(shownPlacements);
  const table = (caption: string, rows: readonly PlacementFigures[]) => (
    <Table
      caption={caption}
      columns={placementColumns}
      rows={rows}
      none="No objects yet"
      keyOf={({ label }) => label}
    />
  );
  return (
    <Panel title="Placements">
      {table('Placements', placements.slice(0, shownPlacements))}
      {more.length > 0 && (
        <details>
          <summary>
            {count(more.reduce((sum, { objects }) => sum + objects, 0))} objects in {more.length} more placements
          </summary>
          {table('More placements', more)}
        </details>
      )}
      {otherPlacements.placements > 0 && (
        <p class="quiet">
          {count(otherPlacements.objects)} objects in {count(otherPlacements.placements)} smaller placements:{' '}
          <a href={hrefTo('objects')}>all objects</a>
        </p>
      )}
    </Panel>
  );
}
