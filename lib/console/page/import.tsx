import { useState } from 'preact/hooks';
import { act, overview } from './api.ts';
import { JobList } from './jobs.tsx';
import { Action, doing, Panel, question } from './parts.tsx';
import { route } from './route.ts';

export function ImportPage() {
  const fleet = overview.value!;
  const names = fleet.backends.filter(({ isConfigured }) => isConfigured).map(({ name }) => name);
  const first = route.value.asked.get('backend');
  const [backends, setBackends] = useState<readonly string[]>(first === null ? [] : [first]);
  const [prefix, setPrefix] = useState('');
  const asked = { backends, ...(prefix !== '' && { prefix }) };
  const toggle = (name: string, isOn: boolean) =>
    setBackends(isOn ? [...backends, name].sort() : backends.filter((other) => other !== name));
  const run = () => {
    question.value = {
      title: `Import from ${backends.join(', ')}?`,
      lines: [
        'Files that Holdfast did not write become objects; they stay where and as they are.',
        'The replicator then makes the copies that their policies ask for: the dry run says what that costs.',
      ],
      verb: 'Import',
      run: () => doing(() => act('import', asked)),
    };
  };
  return (
    <>
      <h1>Import</h1>
      <Panel title="Make objects of files that are already there">
        <fieldset>
          <legend>Backends</legend>
          {names.map((name) => (
            <label class="check" key={name}>
              <input
                type="checkbox"
                checked={backends.includes(name)}
                onChange={(event) => toggle(name, event.currentTarget.checked)}
              />
              {name}
            </label>
          ))}
        </fieldset>
        <div class="find">
          <label for="prefix">Only keys that begin with</label>
          <input id="prefix" value={prefix} onInput={(event) => setPrefix(event.currentTarget.value)} />
        </div>
        {fleet.isReadOnly && <p class="quiet">This console only shows: nothing can be imported from here.</p>}
        {backends.length === 0 ? (
          <p class="quiet">Choose a backend.</p>
        ) : (
          <div class="buttons">
            <Action run={() => doing(() => act('plan-import', asked))}>Dry run</Action>
            <Action run={run}>Import …</Action>
          </div>
        )}
      </Panel>
      {fleet.jobs.length > 0 && (
        <Panel title="Asked for here">
          <JobList jobs={fleet.jobs} />
        </Panel>
      )}
    </>
  );
}
