import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { connection, mostSilence, overview, problem, silence } from './api.ts';
import { BackendPage } from './backend.tsx';
import { span, utcTime } from './figures.ts';
import { HistoryPage } from './history.tsx';
import { ImportPage } from './import.tsx';
import { ObjectPage } from './object.tsx';
import { ObjectsPage } from './objects.tsx';
import { OverviewPage } from './overview.tsx';
import { Badge, Confirm, Name, Notice, notice, question } from './parts.tsx';
import { QueuePage } from './queue.tsx';
import { route } from './route.ts';
import { SettingsPage } from './settings.tsx';
import { WorkersPage } from './workers.tsx';

const views: Readonly<
  Record<string, { readonly title: string; readonly page: ComponentType; readonly isHidden?: true }>
> = {
  '': { title: 'Overview', page: OverviewPage },
  objects: { title: 'Objects', page: ObjectsPage },
  queue: { title: 'Queue', page: QueuePage },
  workers: { title: 'Workers', page: WorkersPage },
  import: { title: 'Import', page: ImportPage },
  history: { title: 'History', page: HistoryPage },
  settings: { title: 'Settings', page: SettingsPage },
  object: { title: 'Object', page: ObjectPage, isHidden: true },
  backend: { title: 'Backend', page: BackendPage, isHidden: true },
};

export function App() {
  const { view } = route.value;
  const { title, page: Page } = views[view] ?? views['']!;
  const fleet = overview.value;
  // What was told, or asked, of one page is not about the next.
  useEffect(() => {
    notice.value = null;
    question.value = null;
  }, [route.value]);
  document.title = `${title} · Holdfast console`;
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <span class="brand">Holdfast</span>
        <nav class="pages" aria-label="Pages">
          {Object.entries(views)
            .filter(([, { isHidden }]) => !isHidden)
            .map(([name, one]) => (
              <a href={`#/${name}`} aria-current={name === view ? 'page' : undefined} key={name}>
                {one.title}
              </a>
            ))}
        </nav>
        <Connection />
      </header>
      <main id="main" tabIndex={-1}>
        {connection.value === 'ended' && <Alert>{ended}</Alert>}
        {fleet?.problem !== undefined && (
          <Alert>{`${fleet.problem}. What is shown is as it was at ${utcTime(fleet.readAt)} UTC.`}</Alert>
        )}
        {fleet === null ? <Nothing /> : <Page />}
      </main>
      <Notice />
      <Confirm />
    </>
  );
}

const ended = 'This console has ended, or was started anew. Open the address that it printed last.';

function Alert({ children }: { readonly children: string }) {
  return (
    <p class="problem" role="alert">
      <Name>{children}</Name>
    </p>
  );
}

function Nothing() {
  const why = problem.value;
  if (why !== null) return <Alert>{why}</Alert>;
  return connection.value === 'ended' ? null : <p class="empty">Reading the fleet …</p>;
}

function Connection() {
  const fleet = overview.value;
  const [tone, text] = states[connection.value];
  const isSilent = connection.value === 'live' && silence.value > mostSilence;
  return (
    <div class="connection">
      {fleet?.isReadOnly && <Badge tone="neutral">read-only</Badge>}
      {isSilent ? (
        <Badge tone="warn">no news for {span(silence.value)}</Badge>
      ) : (
        <Badge tone={fleet?.problem === undefined ? tone : 'warn'}>
          {fleet?.problem === undefined ? text : 'not up to date'}
        </Badge>
      )}
      {fleet !== null && <span class="quiet">as of {utcTime(fleet.readAt).slice(11)} UTC</span>}
    </div>
  );
}

const states = {
  connecting: ['neutral', 'connecting'],
  live: ['good', 'live'],
  lost: ['bad', 'connection lost'],
  ended: ['bad', 'ended'],
} as const;
