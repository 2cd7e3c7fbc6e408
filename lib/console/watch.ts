import type { Clock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import { parseParameters } from '../config/parameters.ts';
import { changesBetween } from './changes.ts';
import { type FleetFigures, fleetFigures } from './overview.ts';
import type { ChangeFigures, JobFigures, Overview } from './protocol.ts';
import { passesUnderWay, type Sample, sampleOf, withSample, workOf } from './rates.ts';
import type { Read, Reader, Readings } from './readings.ts';

export interface WatchDeps {
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly reader: Reader;
  jobs(): readonly JobFigures[];
}

/** What a look at the fleet showed; `nothing` there has been none that went well, and why. */
export type News =
  | { readonly outcome: 'seen'; readonly overview: Overview }
  | { readonly outcome: 'nothing'; readonly problem: string };

/** Told of every new look at the fleet. */
export type Listener = (news: News) => void;

/** The fleet as pages see it: read while somebody looks, and only then. */
export interface Watch {
  /** Resolves once somebody looks; the function that it returns ends the watching. */
  subscribe(listener: Listener): Promise<() => void>;
  /** Reads the fleet now: something was done. */
  refresh(): Promise<void>;
  /** Tells everybody what is known, without a query. */
  publish(): void;
  readonly readings: Readings | undefined;
  close(): Promise<void>;
}

/** One query so often, however many pages are open. */
export const pollMs = 5_000;
const mostChanges = 200;

export function createWatch(deps: WatchDeps, { isReadOnly }: { readonly isReadOnly: boolean }): Watch {
  const { clock, env, reader } = deps;
  const listeners = new Set<Listener>();
  let former: FleetFigures | undefined;
  let samples: readonly Sample[] = [];
  let changes: readonly ChangeFigures[] = [];
  let problem: string | undefined;
  let loop: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;

  const figuresOf = (readings: Readings) => {
    const params = parseParameters(env, readings.fleet.settings.overrides);
    return fleetFigures(readings, { params, now: clock.now() });
  };
  const take = (read: Read) => {
    problem = problemOf(read);
    if (read.outcome !== 'read') return;
    const figures = figuresOf(read.readings);
    if (former?.readAt !== figures.readAt) {
      changes = [...changesBetween(former, figures), ...changes].slice(0, mostChanges);
      samples = withSample(samples, sampleOf(figures));
      former = figures;
    }
  };
  const newsNow = (): News => {
    const { latest } = reader;
    if (latest === undefined) return { outcome: 'nothing', problem: problem ?? 'The fleet was not read yet' };
    const figures = figuresOf(latest);
    const work = [...workOf(figures, samples), ...passesUnderWay(latest)];
    const overview = { ...figures, isReadOnly, work, jobs: deps.jobs(), changes, ...defined({ problem }) };
    return { outcome: 'seen', overview };
  };
  const publish = () => {
    if (listeners.size === 0) return;
    const news = newsNow();
    for (const listener of listeners) listener(news);
  };
  const keepLooking = async (stop: AbortSignal) => {
    for (;;) {
      await clock.sleep(pollMs, stop).catch(() => {});
      if (stop.aborted) return;
      take(await reader.step());
      publish();
    }
  };
  const end = async () => {
    const ending = loop;
    loop = undefined;
    ending?.stop.abort();
    await ending?.ended;
  };
  return {
    get readings() {
      return reader.latest;
    },
    publish,
    async subscribe(listener) {
      const isFirst = listeners.size === 0;
      listeners.add(listener);
      if (isFirst) {
        take(await reader.all());
        if (loop === undefined && listeners.size > 0) {
          const stop = new AbortController();
          loop = { stop, ended: keepLooking(stop.signal) };
        }
        // Whoever came while it was read has waited for it, too.
        publish();
      } else if (reader.latest !== undefined) listener(newsNow());
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) void end();
      };
    },
    async refresh() {
      take(await reader.refresh());
      publish();
    },
    close: end,
  };
}

function problemOf(read: Read): string | undefined {
  if (read.outcome === 'failed') return `The tables cannot be read: ${read.message}`;
  return read.outcome === 'no-config' ? 'The fleet has no configuration: run `holdfast init` first' : undefined;
}
