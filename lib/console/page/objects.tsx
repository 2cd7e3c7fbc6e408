import { useState } from 'preact/hooks';
import type { ObjectLine, ObjectList } from '../protocol.ts';
import { ask, pathWith } from './api.ts';
import { bytes, count } from './figures.ts';
import {
  Awaited,
  asking,
  Badge,
  Busy,
  type Column,
  type Loaded,
  Name,
  Panel,
  Table,
  useLoaded,
  When,
} from './parts.tsx';
import { hrefTo, route } from './route.ts';

/** Objects by what they have in common, or by the beginning of their key. */
export function ObjectsPage() {
  const { asked } = route.value;
  const prefix = asked.get('prefix');
  const path = prefix === null ? `/api/objects?${asked}` : pathWith('/api/find', { prefix });
  return (
    <>
      <h1>Objects</h1>
      <Find prefix={prefix ?? ''} />
      <Panel title={titleOf(asked)}>
        <Pages path={path} key={path} />
      </Panel>
    </>
  );
}

function titleOf(asked: URLSearchParams): string {
  const which = asked.get('which');
  const copies = asked.get('copies');
  const parts = [
    which === null ? 'Objects' : `Objects that are ${whichNames[which] ?? which}`,
    asked.has('prefix') && asked.get('prefix') !== '' ? `that begin with “${asked.get('prefix')}”` : '',
    asked.has('backend') ? `with a copy on ${asked.get('backend')}` : '',
    asked.has('placement') ? `placed ${asked.get('placement')}` : '',
    copies === null ? '' : `with ${copies} counted ${copies === '1' ? 'copy' : 'copies'}`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

const whichNames: Readonly<Record<string, string>> = { misplaced: 'badly spread' };

function Find({ prefix }: { readonly prefix: string }) {
  const go = (event: SubmitEvent) => {
    event.preventDefault();
    const wanted = String(new FormData(event.currentTarget as HTMLFormElement).get('key'));
    location.hash = hrefTo('objects', undefined, { prefix: wanted });
  };
  return (
    <search>
      <form class="find" onSubmit={go}>
        <label for="key">Key, or how it begins</label>
        <input id="key" name="key" defaultValue={prefix} autocomplete="off" spellcheck={false} />
        <button type="submit" class="primary">
          Find
        </button>
      </form>
    </search>
  );
}

/** The first page, and those after it that somebody asked for. */
function Pages({ path }: { readonly path: string }) {
  const first: Loaded<ObjectList> = useLoaded(path);
  const [more, setMore] = useState<readonly ObjectList[]>([]);
  const goOn = (next: string) =>
    asking(async () => setMore([...more, await ask<ObjectList>(`${path}&after=${encodeURIComponent(next)}`)]));
  return (
    <Awaited of={first}>
      {(page) => {
        const pages = [page, ...more];
        const { next } = pages.at(-1)!;
        // One that was given other copies in between may be met again.
        const objects = [...new Map(pages.flatMap((one) => one.objects).map((one) => [one.key, one])).values()];
        return (
          <>
            <Table
              caption="Objects"
              columns={columns}
              rows={objects}
              none={next === undefined ? 'There are no such objects' : 'None among those looked at so far'}
              keyOf={({ key }) => key}
            />
            {next !== undefined && <Busy run={() => goOn(next)}>Show more</Busy>}
            <p class="quiet">
              {count(objects.length)} shown{next === undefined ? ', which is all' : ''}. What changed within the last
              second may be missing.
            </p>
          </>
        );
      }}
    </Awaited>
  );
}

const columns: readonly Column<ObjectLine>[] = [
  {
    head: 'Key',
    isLong: true,
    cell: ({ key }) => (
      <a href={hrefTo('object', key)}>
        <Name>{key}</Name>
      </a>
    ),
  },
  { head: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
  {
    head: 'Copies',
    isNumber: true,
    cell: ({ counted, wanted }) => (
      <Badge tone={counted < wanted ? 'bad' : 'good'}>
        {counted} of {wanted}
      </Badge>
    ),
  },
  { head: 'On', cell: ({ backends }) => backends.join(', ') || 'none' },
  { head: 'Written', cell: ({ createdAt }) => <When at={createdAt} /> },
  {
    head: 'State',
    cell: ({ condition, reasons }) => (
      <div>
        {condition === 'sound' ? '' : <Badge tone="bad">{condition}</Badge>}
        {Object.entries(reasons).map(([backend, why]) => (
          <div class="quiet" key={backend}>
            {backend}: <Name>{why}</Name>
          </div>
        ))}
      </div>
    ),
  },
];
