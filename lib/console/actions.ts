import * as v from 'valibot';
import { bytes, duration, plural } from '../base/amounts.ts';
import { defined } from '../base/defined.ts';
import type { Holdfast } from '../client/client.ts';
import { BackendError } from '../fleet/backend.ts';
import { drain } from '../operations/drain.ts';
import { checkBackend } from '../operations/probe.ts';
import { requeueDead, requeueItems } from '../operations/requeue.ts';
import { sayUndrained } from '../operations/say-drain.ts';
import {
  pauseWorker,
  resumeWorker,
  type SettingsChanged,
  setParameter,
  unsetParameter,
} from '../operations/settings.ts';
import { retry } from '../operations/stuck.ts';
import { undrain } from '../operations/undrain.ts';
import { scrubKey } from '../workers/scrubber/scrub-key.ts';
import { meaningOf } from '../workers/scrubber/verdicts.ts';
import type { ConsoleDeps } from './deps.ts';
import { runImport, runImportPlan } from './imports.ts';
import type { Jobs } from './jobs.ts';
import type { ActionAnswer, ActionName, Actions } from './protocol.ts';

export interface ActionDeps {
  readonly deps: ConsoleDeps;
  readonly client: Pick<Holdfast, 'undelete'>;
  readonly jobs: Jobs;
}

type Action<Name extends ActionName> = (given: ActionDeps, asked: Actions[Name]) => Promise<ActionAnswer>;

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(100));
const key = v.pipe(v.string(), v.minLength(1), v.maxLength(1024));
const ofBackend = v.strictObject({ backend: name });
const ofWorker = v.strictObject({ worker: name });
const ofFiles = v.strictObject({
  backends: v.pipe(v.array(name), v.minLength(1), v.maxLength(64)),
  prefix: v.exactOptional(v.pipe(v.string(), v.maxLength(1024))),
});

/** What each action must be asked for. */
const schemas = {
  pause: ofWorker,
  resume: ofWorker,
  set: v.strictObject({ name, value: v.pipe(v.string(), v.maxLength(1_000)) }),
  unset: v.strictObject({ name }),
  drain: v.strictObject({ backend: name, deleteImported: v.exactOptional(v.boolean()) }),
  undrain: ofBackend,
  probe: ofBackend,
  requeue: v.strictObject({ ids: v.exactOptional(v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(100))) }),
  retry: v.strictObject({ key }),
  scrub: v.strictObject({ key }),
  undelete: v.strictObject({ key, generation: name }),
  'plan-import': ofFiles,
  import: ofFiles,
  stop: v.strictObject({ job: name }),
} satisfies Record<ActionName, v.GenericSchema>;

/** Everything that the page can ask for: each is an operation, as the command line asks for it. Nothing is written here. */
const actions: { readonly [Name in ActionName]: Action<Name> } = {
  pause: async ({ deps }, { worker }) => told(await pauseWorker(deps, worker), `The ${worker} is paused`),
  resume: async ({ deps }, { worker }) => told(await resumeWorker(deps, worker), `The ${worker} runs`),
  set: async ({ deps }, asked) =>
    told(await setParameter(deps, asked.name, asked.value), `${asked.name} is ${asked.value} from now on`),
  unset: async ({ deps }, asked) =>
    told(await unsetParameter(deps, asked.name), `${asked.name} is what each environment says`),
  drain: beginDrain,
  undrain: async ({ deps, jobs }, { backend }) => {
    const job = jobs.begin(`Undrain ${backend}`, async () => {
      const ended = await undrain(deps, backend);
      if (ended.outcome === 'undrained' || ended.outcome === 'not-draining')
        return { state: 'done', result: sayUndrained(backend, ended).split('\n') };
      return { state: 'failed', result: [obstacle('undrain', backend, ended.outcome)] };
    });
    return { outcome: 'begun', sentence: `The drain of ${backend} is being ended`, job };
  },
  probe,
  requeue: async ({ deps }, { ids }) => {
    const count = ids === undefined ? await requeueDead(deps) : await requeueItems(deps, ids);
    return done(`${plural(count, 'item')} tried again from the start`);
  },
  retry: async ({ deps }, asked) => {
    const { outcome } = await retry(deps, asked.key);
    if (outcome === 'lifted') return done('It is tried again in the next tick of the replicator');
    if (outcome === 'nothing-refused') return done('No backend refuses it');
    return refused(outcome === 'no-object' ? 'There is no such object' : 'It changed meanwhile: ask again');
  },
  scrub,
  undelete: async ({ client }, asked) => {
    const { sizeBytes } = await client.undelete(asked.key, { generation: asked.generation });
    return done(`It is back: ${bytes(sizeBytes)}`);
  },
  'plan-import': async ({ deps, jobs }, asked) => {
    const job = jobs.begin(`Plan of an import from ${asked.backends.join(', ')}`, (talk) =>
      runImportPlan(deps, asked, talk),
    );
    return { outcome: 'begun', sentence: 'The files are being counted; nothing is changed', job };
  },
  import: async ({ deps, jobs }, asked) => {
    const job = jobs.begin(`Import from ${asked.backends.join(', ')}`, (talk) => runImport(deps, asked, talk));
    return { outcome: 'begun', sentence: 'The import runs', job };
  },
  stop: async ({ jobs }, { job }) =>
    jobs.stop(job) ? done('It ends after what is in flight') : refused('It is not under way'),
};

/** `unknown` there is no such action, or it was asked for wrongly: why, in `sentence`. */
export type Acted = ActionAnswer | { readonly outcome: 'unknown'; readonly sentence: string };

export async function act(given: ActionDeps, action: string, asked: unknown): Promise<Acted> {
  if (!Object.hasOwn(actions, action)) return { outcome: 'unknown', sentence: `There is no action "${action}"` };
  const known = action as ActionName;
  const parsed = v.safeParse(schemas[known], asked);
  if (!parsed.success) return { outcome: 'unknown', sentence: v.summarize(parsed.issues) };
  try {
    return await (actions[known] as Action<ActionName>)(given, parsed.output);
  } catch (error) {
    // What did not answer, refused, or may not be done: the sentence says which.
    return refused((error as Error).message);
  }
}

async function beginDrain({ deps }: ActionDeps, { backend, deleteImported }: Actions['drain']): Promise<ActionAnswer> {
  const begun = await drain(deps, backend, defined({ deleteImported }));
  switch (begun.outcome) {
    case 'draining':
      return done(`${backend} drains`);
    case 'too-few':
      return refused(
        `Cannot drain backend "${backend}": ${plural(begun.remaining, 'backend')} would remain, fewer than the factor of ${begun.policies.map((policy) => `policy "${policy}"`).join(', ')}`,
      );
    case 'not-configured':
      return refused(`There is no backend "${backend}" in the fleet file`);
    default:
      return refused(obstacle('drain', backend, begun.outcome));
  }
}

function obstacle(what: string, backend: string, outcome: 'recovering' | 'contended'): string {
  return outcome === 'recovering'
    ? `Cannot ${what} backend "${backend}": the tables may know less than the buckets hold; \`holdfast recover\` first`
    : `Cannot ${what} backend "${backend}": its record kept changing; try again`;
}

async function probe({ deps }: ActionDeps, { backend }: Actions['probe']): Promise<ActionAnswer> {
  try {
    const probed = await checkBackend(deps, backend);
    if (probed.outcome === 'not-configured') return refused(`There is no backend "${backend}" in the fleet file`);
    if (probed.outcome === 'not-ours') return refused(probed.problem);
    const breaker = probed.closedBreaker ? '; its breaker is closed now' : '';
    return done(`${backend} answers in ${duration(probed.durationMs)}, and is ours${breaker}`);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return refused(`${backend} does not answer as it should: ${error.message}`);
  }
}

const scrubMs = 900_000;

async function scrub({ deps }: ActionDeps, asked: Actions['scrub']): Promise<ActionAnswer> {
  const { report, isFound, verdicts } = await scrubKey(deps, asked.key, scrubMs);
  if (report.outcome === 'error') return refused(report.message ?? 'The scrub could not begin');
  if (report.outcome === 'busy') return refused('Another object is being verified: ask again');
  if (!isFound) return refused('There is no such object');
  const lines = verdicts.map(({ backend, verdict, detail }) => ({
    ...{ backend, verdict, isGood: meaningOf(verdict).counts === 'succeeded' && verdict !== 'quarantined' },
    ...defined({ detail }),
  }));
  const isGood = lines.every((line) => line.isGood);
  const sentence = isGood ? 'Every copy was read, and verifies' : 'Not every copy verifies';
  return { outcome: 'done', sentence, verdicts: lines };
}

function told(changed: SettingsChanged, sentence: string): ActionAnswer {
  if (changed.outcome === 'refused') return refused(changed.sentence);
  if (changed.outcome === 'contended')
    return refused('Cannot change the settings: other processes keep changing them; try again');
  return done(sentence);
}

function done(sentence: string): ActionAnswer {
  return { outcome: 'done', sentence };
}

function refused(sentence: string): ActionAnswer {
  return { outcome: 'refused', sentence };
}
