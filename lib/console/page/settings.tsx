import { useState } from 'preact/hooks';
import type { ParameterLine } from '../protocol.ts';
import { act, overview } from './api.ts';
import {
  Action,
  Awaited,
  Badge,
  type Column,
  doing,
  type Loaded,
  Panel,
  question,
  Table,
  useLoaded,
} from './parts.tsx';

export function SettingsPage() {
  const loaded: Loaded<readonly ParameterLine[]> = useLoaded('/api/settings');
  const [filter, setFilter] = useState('');
  return (
    <>
      <h1>Settings</h1>
      <Panel title="Tuning parameters, as they are in force here">
        <div class="find">
          <label for="filter">Only those with</label>
          <input id="filter" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        </div>
        <Awaited of={loaded}>
          {(all) => (
            <Table
              caption="Parameters"
              columns={columnsFor(loaded.reload)}
              rows={all.filter(({ name }) => name.includes(filter.toUpperCase()))}
              none="There is no such parameter"
              keyOf={({ name, value }) => `${name} ${value}`}
            />
          )}
        </Awaited>
      </Panel>
    </>
  );
}

function columnsFor(reload: () => void): readonly Column<ParameterLine>[] {
  return [
    {
      head: 'Parameter',
      cell: ({ name, about }) => (
        <div>
          <code>{name}</code>
          <div class="quiet">{about}</div>
        </div>
      ),
    },
    {
      head: 'From',
      cell: ({ source, default: usual }) => (
        <div>
          <Badge tone={source === 'set' ? 'warn' : 'neutral'}>{source}</Badge>{' '}
          {source !== 'default' && <span class="quiet">default {usual}</span>}
        </div>
      ),
    },
    { head: 'Value', cell: (parameter) => <Value of={parameter} reload={reload} /> },
  ];
}

function Value({ of: { name, value, source, mayBeSet }, reload }: { readonly of: ParameterLine; reload(): void }) {
  const [typed, setTyped] = useState(value);
  if (!mayBeSet || overview.value!.isReadOnly) return <code>{value}</code>;
  const set = () => {
    question.value = {
      title: `Set ${name} to ${typed}?`,
      lines: [`It is ${value} now. Every process obeys the new value from its next look at the fleet on.`],
      verb: 'Set',
      run: async () => {
        await doing(() => act('set', { name, value: typed }));
        reload();
      },
    };
  };
  const unset = () => {
    question.value = {
      title: `Unset ${name}?`,
      lines: ['Every process then goes by its own environment again, or by the default.'],
      verb: 'Unset',
      run: async () => {
        await doing(() => act('unset', { name }));
        reload();
      },
    };
  };
  return (
    <form
      class="value"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed !== value) set();
      }}
    >
      <input aria-label={name} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
      <button type="submit" disabled={typed === value} aria-label={`Set ${name}`}>
        Set
      </button>
      {source === 'set' && (
        <Action label={`Unset ${name}`} run={unset}>
          Unset …
        </Action>
      )}
    </form>
  );
}
