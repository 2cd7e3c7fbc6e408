import type { AttentionFigures, BackendFigures, JobFigures, Overview, WorkFigures } from '../protocol.ts';
import { overview } from './api.ts';
import { ago, bytes, count, percent, share, span, usd, utcTime } from './figures.ts';
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
      <Attention all={fleet.attention} />
      <Panel title="Backends">
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
  const unreachable = fleet.backends.filter(({ isConfigured, breaker }) => isConfigured && breaker !== 'closed');
  return (
    <dl class="headline">
      <Figure name="Objects" value={count(fleet.objects)} href={hrefTo('objects')} />
      <Figure name="Content" value={bytes(fleet.bytes)} />
      <Figure
        name="Backends that answer"
        value={`${fleet.backends.length - unreachable.length} of ${fleet.backends.length}`}
        tone={unreachable.length === 0 ? '' : 'bad'}
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
  readonly href?: string;
}

function Figure({ name, value, tone = '', href }: FigureProps) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd class={tone}>{href === undefined ? value : <a href={href}>{value}</a>}</dd>
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

function Attention({ all }: { readonly all: readonly AttentionFigures[] }) {
  const some = all.filter(({ objects }) => objects > 0);
  return (
    <Panel title="What needs a look">
      {some.length === 0 ? (
        <p class="all-well">
          <Badge tone="good">all is well</Badge> Every object has the copies that its policy asks for.
        </p>
      ) : (
        <ul class="attention">
          {some.map(({ name, objects, reasons }) => (
            <li key={name}>
              <a class="amount" href={hrefTo('objects', undefined, { which: name })}>
                {count(objects)} {titles[name].toLowerCase()}
              </a>
              <ul>
                {reasons.map((reason) => (
                  <li key={reason}>{reason}</li>
                ))}
              </ul>
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
            {unhealthySince !== undefined && `since ${span((overview.value!.now - unhealthySince) / 1000)}`}
            {probeAfter !== undefined && `, tried again ${ago(probeAfter)}`}
            {reason !== undefined && (
              <>
                : <Name>{reason}</Name>
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
          <Badge tone="bad">takes no writes</Badge> <span class="quiet">{takesNoWrites.message}</span>
        </span>
      )}
    </div>
  );
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

const usageParts = [
  ['requests', 'requests', count],
  ['egressBytes', 'out', bytes],
  ['ingressBytes', 'in', bytes],
] as const;

export function Usage({ backend: { usage, limits, egressUsdPerGb } }: { readonly backend: BackendFigures }) {
  if (usage === undefined) return <span class="quiet">…</span>;
  return (
    <ul class="usage">
      {usageParts.map(([part, name, text]) => (
        <li class={limits[part] > 0 && usage[part] >= limits[part] ? 'bad' : ''} key={part}>
          {text(usage[part])}
          {limits[part] > 0 && ` of ${text(limits[part])}`} {name}
        </li>
      ))}
      {egressUsdPerGb > 0 && <li>{usd((usage.egressBytes / 1e9) * egressUsdPerGb)}</li>}
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

const stateNames: Readonly<Record<string, string>> = {
  intent: 'puts under way',
  transfer: 'big copies',
  cleanup: 'to delete',
  dead: 'dead letters',
};

function Queue({ fleet: { queue } }: { readonly fleet: Overview }) {
  return (
    <Panel title="Queue">
      <ul class="rows">
        {queue.map(({ state, objects, bytes: size }) => (
          <li key={state}>
            <span>{stateNames[state] ?? state}</span>
            <span class="quiet">{objects === 0 ? '' : bytes(size)}</span>
            <a href={hrefTo('queue', undefined, { state })}>{count(objects)}</a>
          </li>
        ))}
      </ul>
    </Panel>
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
            {percent(scrub.share)} of the cycle; the oldest verification is from <When at={scrub.oldestVerifiedAt} />.
          </p>
          <Bar label="Scrub cycle" parts={[{ ratio: scrub.share, tone: 'good' }]} />
          {scrub.owed > 0 && <p>{count(scrub.owed)} copies are come back to.</p>}
        </>
      )}
    </Panel>
  );
}

function UnderWay({ work, jobs }: { readonly work: readonly WorkFigures[]; readonly jobs: readonly JobFigures[] }) {
  if (work.length === 0 && jobs.length === 0) return null;
  return (
    <Panel title="Under way">
      <JobList jobs={jobs} />
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
  );
}

const workColumns: readonly Column<WorkFigures>[] = [
  { head: 'Work', cell: ({ what, href }) => (href === undefined ? what : <a href={href}>{what}</a>) },
  {
    head: 'Left',
    isNumber: true,
    cell: ({ remaining, doneOf }) => {
      if (doneOf !== undefined) return `${doneOf.done} of ${doneOf.all} ranges done`;
      return `${count(remaining!.objects)}${remaining!.bytes > 0 ? `, ${bytes(remaining!.bytes)}` : ''}`;
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
          <summary>{count(older.length)} older ones</summary>
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

function Placements({ fleet: { placements } }: { readonly fleet: Overview }) {
  const rest = placements.slice(shownPlacements).reduce((sum, { objects }) => sum + objects, 0);
  return (
    <Panel title="Placements">
      <Table
        caption="Placements"
        columns={[
          {
            head: 'Placement',
            cell: ({ label }) => <a href={hrefTo('objects', undefined, { placement: label })}>{label}</a>,
          },
          { head: 'Objects', isNumber: true, cell: ({ objects }) => count(objects) },
          { head: 'Size', isNumber: true, cell: ({ bytes: size }) => bytes(size) },
        ]}
        rows={placements.slice(0, shownPlacements)}
        none="No objects yet"
        keyOf={({ label }) => label}
      />
      {rest > 0 && (
        <p class="quiet">
          {count(rest)} objects in {placements.length - shownPlacements} more placements
        </p>
      )}
    </Panel>
  );
}
