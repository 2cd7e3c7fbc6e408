import { bytes, plural } from '../base/amounts.ts';
import { defined } from '../base/defined.ts';
import { type PlannedImport, planImport } from '../operations/plan-import.ts';
import { type PassProgress, runPass } from '../operations/run-pass.ts';
import { passMeanings } from '../operations/say-pass.ts';
import { runTick } from '../tick/run-tick.ts';
import type { ReconcileRequest, TickEvent } from '../tick/tick.ts';
import { reconciler } from '../workers/reconciler/reconciler.ts';
import type { ConsoleDeps } from './deps.ts';
import type { JobEnd, JobTalk } from './jobs.ts';
import type { Actions } from './protocol.ts';

/** What an import would find and cost; nothing is changed. */
export async function runImportPlan(deps: ConsoleDeps, asked: Actions['import'], talk: JobTalk): Promise<JobEnd> {
  const meter = meterOf(deps, talk);
  const planned = await planImport(passDeps(deps), { ...requestOf(asked), onListed: meter.listed }, talk.stop);
  if (planned.outcome === 'error') return { state: 'failed', result: [planned.message] };
  return { state: talk.stop.aborted ? 'stopped' : 'done', result: sayPlan(planned) };
}

/** Makes objects of files, to the end or until it is stopped; asked for again, it goes on where it stopped. */
export async function runImport(deps: ConsoleDeps, asked: Actions['import'], talk: JobTalk): Promise<JobEnd> {
  const meter = meterOf(deps, talk);
  const since = deps.clock.now();
  const run = await runPass(
    passDeps(deps),
    { ...requestOf(asked), since, onListed: meter.listed },
    { stop: talk.stop, onProgress: meter.reached },
  );
  if (run.outcome === 'error') return { state: 'failed', result: [run.message] };
  if (run.outcome === 'busy') return { state: 'failed', result: ['Another import of these backends is running'] };
  const { progress } = run;
  const result = [...foundLines(progress.counts), ...progress.problems.map((problem) => `Held up: ${problem}`)];
  if (run.outcome === 'stopped')
    return { state: 'stopped', result: [...result, 'Asked for again, it goes on from here'] };
  // What one that was broken off has gone through by then, it does not look at again.
  if (progress.beganAt < since)
    result.push(
      `This went on with an import that began at ${new Date(progress.beganAt).toISOString()}: for files put since then, import again`,
    );
  return { state: progress.isComplete ? 'done' : 'failed', result };
}

function requestOf({ backends, prefix }: Actions['import']): ReconcileRequest {
  return { kind: 'import', backends: [...backends].sort(), ...defined({ prefix: prefix === '' ? undefined : prefix }) };
}

function passDeps(deps: ConsoleDeps) {
  return { ...deps, tick: (event: TickEvent) => runTick(deps, reconciler, event) };
}

/** How far it has come, how fast, and how long it will take. */
function meterOf({ clock }: ConsoleDeps, talk: JobTalk) {
  const startedAt = clock.now();
  let [listed, listedBytes] = [0, 0];
  let share: number | undefined;
  const tell = () => {
    const seconds = Math.max(0.001, (clock.now() - startedAt) / 1000);
    const secondsLeft = share === undefined || share <= 0 ? undefined : (seconds * (1 - share)) / share;
    talk.progress({
      ...{ listed, bytes: listedBytes, keysPerSecond: listed / seconds },
      ...defined({ share, secondsLeft }),
    });
  };
  return {
    listed: (keys: number, more: number) => {
      listed += keys;
      listedBytes += more;
      tell();
    },
    reached: (progress: PassProgress) => {
      share = progress.share;
      tell();
    },
  };
}

function sayPlan(planned: PlannedImport): string[] {
  const { isComplete, listed, found, import: first, replication, warnings } = planned;
  const usd = (amount: number) => `$${amount.toFixed(2)}`;
  return [
    `${plural(listed, 'file')} listed`,
    ...foundLines(found),
    ...(Object.keys(found).some((what) => what.startsWith('would-')) ? [] : ['No file there would become an object']),
    `The import would cost about ${usd(first.usd)}: ${plural(first.listRequests, 'LIST request')}, ${plural(Math.round(first.writeUnits), 'write unit')}`,
    ...(first.readBytes > 0 ? [`To tell what listings do not, up to ${bytes(first.readBytes)} would be read`] : []),
    `The first replication: ${plural(replication.copies, 'copy')} of ${bytes(replication.bytes)}, about ${usd(replication.usd)}`,
    ...warnings.map((warning) => `Warning: ${warning}`),
    ...(isComplete ? [] : ['Not every key was listed: these are the figures of what was']),
  ];
}

function foundLines(found: Readonly<Record<string, number>>): string[] {
  return Object.entries(found)
    .sort(([, a], [, b]) => b - a)
    .map(([what, count]) => `${count} ${passMeanings[what] ?? what}`);
}
