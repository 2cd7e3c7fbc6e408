import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { connection, overview, problem } from './api.ts';
import { BackendPage } from './backend.tsx';
import { utcTime } from './figures.ts';
import { HistoryPage } from './history.tsx';
import { ImportPage } from './import.tsx';
import { ObjectPage } from './object.tsx';
import { ObjectsPage } from './objects.tsx';
import { OverviewPage } from './overview.tsx';
import { Badge, Confirm, Notice, notice } from './parts.tsx';
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
  // What was told of one page is not about the next.
  useEffect(() => {
    notice.value = null;
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
        {fleet?.problem !== undefined && (
          <p class="problem" role="alert">
            {fleet.problem}
          </p>
        )}
        {fleet === null ? <Nothing /> : <Page />}
      </main>
      <Notice />
      <Confirm />
    </>
  );
}

function Nothing() {
  const why = problem.value;
  return why === null ? <p class="empty">Reading the fleet …</p> : <p class="problem">{why}</p>;
}

function Connection() {
  const fleet = overview.value;
  const state = connection.value;
  return (
    <div class="connection">
      {fleet?.isReadOnly && <Badge tone="neutral">read-only</Badge>}
      <Badge tone={state === 'live' ? 'good' : state === 'lost' ? 'bad' : 'neutral'}>
        {state === 'live' ? 'live' : state === 'lost' ? 'connection lost' : 'connecting'}
      </Badge>
      {fleet !== null && <span class="quiet">{utcTime(fleet.readAt).slice(11)} UTC</span>}
    </div>
  );
}
