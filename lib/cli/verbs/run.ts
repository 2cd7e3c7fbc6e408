import { systemClock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import { allEnded } from '../../base/pool.ts';
import { nextRun } from '../../config/next-run.ts';
import { type Parameters, parseParameters, workerNames } from '../../config/parameters.ts';
import { ConfigError } from '../../config/problems.ts';
import { apply } from '../../operations/apply.ts';
import { noteStart } from '../../operations/note-start.ts';
import { runSchedule, type Scheduled } from '../../operations/run-schedule.ts';
import type { HoldfastProcess } from '../../process/process.ts';
import { type FleetConfig, type FleetView, readFleet, standingOf } from '../../store/fleet-view.ts';
import { summarize } from '../../tick/fleet-summary.ts';
import { gaugesOf } from '../../tick/metrics.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { TickReport } from '../../tick/tick.ts';
import { workers } from '../../workers/workers.ts';
import { CommandError } from '../failure.ts';
import { createFigures } from '../figures.ts';
import { bytes, escaped, plural } from '../format.ts';
import { homeFolder, serveHome } from '../home.ts';
import { stopSignal } from '../interrupt.ts';
import { keepMemoryFlat } from '../memory.ts';
import { serveMetrics } from '../metrics-server.ts';
import { wholeNumber } from '../numbers.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';
import { openConsole } from './console.ts';
import { checkedFile, describeApplied } from './setup.ts';
import { describeTick } from './tick.ts';

interface RunOptions {
  readonly metrics?: number;
  readonly console?: number;
  readonly every?: number;
  readonly allowPrivateEndpoint?: readonly string[];
}

const minuteMs = 60_000;

/** `run`: every worker on its schedule in this process, until a signal. */
export const runVerbs: VerbGroup = (program, verb) => {
  verb<RunOptions>(
    program
      .command('run')
      .description('run every worker on its schedule in this process, until a signal: for a machine without Lambda')
      .option(
        '--metrics <port>',
        'serve figures for Prometheus on 127.0.0.1; 0 = any free port',
        wholeNumber(0, 65_535),
      )
      .option(
        '--console <port>',
        'serve the console on 127.0.0.1, as `holdfast console` does; 0 = any free port',
        wholeNumber(0, 65_535),
      )
      .option('--every <seconds>', 'run each worker this often, instead of by its schedule', wholeNumber(1, 86_400))
      .option(
        '--allow-private-endpoint <backend...>',
        'as for init, where this is the first start (HOLDFAST_ALLOW_PRIVATE_ENDPOINTS)',
      ),
    run,
    'own',
  );
};

async function run(session: Session, _args: Arguments, options: RunOptions): Promise<Result> {
  keepMemoryFlat();
  // From here on a signal ends what is in flight first.
  const interrupt = stopSignal(session);
  try {
    const home = homeFolder(session.env);
    if (home !== undefined) await beginHome(session, home, options);
    await fleetNow(session);
    return await keepFleet(session, options, interrupt.signal);
  } finally {
    interrupt.end();
  }
}

/** Serves the tables; at the very first start they are made, and the fleet file is put in force. */
async function beginHome(session: Session, folder: string, options: RunOptions): Promise<void> {
  const home = await serveHome(folder);
  session.serve(home);
  say(session, `The tables are in ${home.dir}; commands on this machine find them there (HOLDFAST_HOME)`);
  const holdfastProcess = session.process();
  await holdfastProcess.createTables();
  const view = await readFleet(holdfastProcess.store, holdfastProcess.clock.now());
  if (view.config === null) {
    const file = checkedFile(session, defined({ allowPrivateEndpoint: options.allowPrivateEndpoint }));
    say(session, describeApplied(await apply(holdfastProcess, file)));
  }
  await noteThisStart(holdfastProcess);
}

/** Throws where the tables are older than what the buckets know of them. */
async function noteThisStart(holdfastProcess: HoldfastProcess): Promise<void> {
  const noted = await noteStart(holdfastProcess);
  if (noted.outcome === 'noted') return;
  throw new CommandError(
    'not-ours',
    `Cannot run on these tables: ${noted.problems.join('; ')}. If no other copy of them is in use, \`holdfast init --take-over\` claims the buckets, and \`holdfast recover\` brings back what the tables do not know`,
  );
}

const dayMs = 86_400_000;
const retryMs = 3_600_000;

/** Once a day, so that a backup of yesterday is known from today's tables. */
async function noteEachDay(session: Session, stop: AbortSignal): Promise<void> {
  let waitMs = dayMs;
  while (!stop.aborted) {
    await systemClock.sleep(waitMs, stop).catch(() => {});
    if (stop.aborted) return;
    try {
      await noteThisStart(session.process());
      waitMs = dayMs;
    } catch (error) {
      say(session, `${timeOf(systemClock.now())} error: ${(error as Error).message}`);
      waitMs = retryMs;
    }
  }
}

async function keepFleet(session: Session, options: RunOptions, stop: AbortSignal): Promise<Result> {
  const holdfastProcess = session.process();
  const { clock, ids } = holdfastProcess;
  const scheduled = schedules(parseParameters(session.env), clock.now());
  const figures = createFigures();
  const seen: Seen = {};
  const deps = {
    ...holdfastProcess,
    sawFleet: (view: FleetView, params: Parameters) => {
      if (view.config !== null) seen.fleet = { view: { ...view, config: view.config }, params };
    },
  };
  const ended = (report: TickReport) => {
    figures.ended(report, clock.now());
    seen.figures = { ...seen.figures, ...report.figures };
    if (report.planned > 0 || report.outcome === 'error') say(session, tickLine(report, clock.now()));
  };
  const gauges = () => {
    const { fleet } = seen;
    return fleet && gaugesOf(fleet.view, fleet.params, seen.figures ?? {}, clock.now());
  };
  const metrics =
    options.metrics === undefined ? undefined : await serveMetrics(options.metrics, () => figures.text(gauges()));
  if (metrics !== undefined) say(session, `Figures: http://127.0.0.1:${metrics.port}/metrics`);
  const page =
    options.console === undefined
      ? undefined
      : await openConsole(session, { port: options.console, isReadOnly: false });
  if (page !== undefined) say(session, `Console: ${page.url}`);
  say(session, `Running ${scheduled.map(({ name }) => name).join(', ')} until a signal`);
  const schedule = runSchedule(
    { clock, random: () => ids.random(), tick: (name, event) => runTick(deps, workers[name]!, event) },
    scheduled,
    {
      stop,
      ended,
      failed: (name, error) => say(session, `${timeOf(clock.now())} ${name}: error: ${error.message}`),
      ...defined({ everyMs: options.every === undefined ? undefined : options.every * 1000 }),
    },
  );
  try {
    const daily = homeFolder(session.env) === undefined ? [] : [noteEachDay(session, stop)];
    await allEnded([schedule, summarizeEachMinute(session, seen, stop), ...daily]);
    await flushUsage(holdfastProcess);
  } finally {
    await page?.close();
    await metrics?.close();
  }
  return { text: 'Stopped: nothing is in flight', document: { workers: figures.workers } };
}

/** What the ticks of this process saw last. */
interface Seen {
  fleet?: { readonly view: FleetView & { readonly config: FleetConfig }; readonly params: Parameters };
  figures?: Readonly<Record<string, number>>;
}

/** The workers that are to be run. Throws `ConfigError` for a schedule that cannot be kept here. */
function schedules(params: Parameters, now: number): Scheduled[] {
  const enabled = workerNames.filter((name) => params.workers[name].enabled);
  const problems = enabled.flatMap((name) => {
    const next = nextRun(params.workers[name].schedule, now);
    return next.outcome === 'problem' ? [next.sentence] : [];
  });
  if (problems.length > 0) throw new ConfigError('The schedules have problems', problems);
  if (enabled.length === 0) throw new CommandError('nothing-to-run', 'Every worker is switched off');
  return enabled.map((name) => ({ name, ...params.workers[name] }));
}

async function summarizeEachMinute(session: Session, seen: Seen, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    await systemClock.sleep(minuteMs, stop).catch(() => {});
    if (!stop.aborted && seen.fleet !== undefined) say(session, summaryLine(seen.fleet, systemClock.now()));
  }
}

function summaryLine({ view, params }: NonNullable<Seen['fleet']>, now: number): string {
  const standing = (name: string) => standingOf(view, name, now, params.unhealthyAfterMs);
  const summary = summarize(view, standing);
  const { objects, underReplicated, overReplicated, damaged, stuck, queue } = summary;
  const queued = queue.intent.objects + queue.transfer.objects + queue.cleanup.objects;
  const counts = Object.entries({ underReplicated, overReplicated, damaged, stuck, queued, dead: queue.dead.objects })
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} ${count}`);
  const odd = view.config.file.backends.flatMap(({ name }) => {
    const { breaker, isDraining } = standing(name);
    if (breaker !== 'closed') return [`"${name}" does not answer (breaker ${breaker})`];
    return isDraining ? [`"${name}" drains`] : [];
  });
  const parts = [`${plural(objects, 'object')}, ${bytes(summary.bytes)}`, ...counts, ...odd];
  return `${timeOf(now)} ${counts.length === 0 && odd.length === 0 ? `${parts[0]}: all is well` : parts.join(' · ')}`;
}

function tickLine(report: TickReport, now: number): string {
  const [first, ...more] = describeTick(report).split('\n');
  const why =
    report.outcome === 'error' && report.message !== undefined ? [report.message] : more.map((line) => line.trim());
  return `${timeOf(now)} ${first}${why.length === 0 ? '' : ` (${why.join('; ')})`}`;
}

async function flushUsage(holdfastProcess: HoldfastProcess): Promise<void> {
  try {
    await holdfastProcess.unreported.flush(holdfastProcess);
  } catch (error) {
    holdfastProcess.log.warn('Usage could not be written', { message: (error as Error).message });
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

/** A line of its own for a person; with `--json` stdout is kept for the document. */
function say({ isJson, stdout, stderr }: Session, text: string): void {
  (isJson ? stderr : stdout).write(
    `${text
      .split('\n')
      .map((line) => escaped(line))
      .join('\n')}\n`,
  );
}
