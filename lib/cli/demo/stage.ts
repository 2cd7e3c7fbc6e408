import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient, type Holdfast } from '../../client/client.ts';
import { parseParameters, type WorkerName } from '../../config/parameters.ts';
import type { StackBackend } from '../../local/stack.ts';
import type { HoldfastProcess } from '../../process/process.ts';
import { type BackendStanding, type FleetView, readFleet, standingOf } from '../../store/fleet-view.ts';
import { shards } from '../../store/keys.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { FleetSummary } from '../../tick/fleet-summary.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { TickEvent, TickReport } from '../../tick/tick.ts';
import { firstPlace, type Place, readStretch } from '../../tick/walk.ts';
import { workers } from '../../workers/workers.ts';
import type { Arranged } from './arrange.ts';
import type { SourceFile } from './files.ts';
import { standingNow, stuckMs, summaryNow } from './settle.ts';
import type { Bucket } from './verify.ts';

/** One thing that the demo shows. */
export interface Step {
  readonly name: string;
  /** Makes it happen and returns what was seen; throws when it was not. */
  run(stage: Stage): Promise<string>;
}

/** What the steps work with. No worker runs by itself here: a step makes the ticks that it is about. */
export interface Stage {
  readonly arranged: Arranged;
  /** Every file there is an object for, those that steps have added included. */
  readonly files: SourceFile[];
  /** When each key was put. */
  readonly putAt: Map<string, number>;
  /** The backend that is unreachable, from the step that cuts it off on. */
  unreachable: string | undefined;
  /** One tick; `env` goes over the demo's own parameters. */
  tick(worker: WorkerName, how?: Pick<TickEvent, 'reconcile'> & { env?: HoldfastProcess['env'] }): Promise<TickReport>;
  /** Tries again until it is so; throws when nothing has moved for a minute, or the demo is to stop. */
  until(what: string, attempt: () => Promise<boolean>): Promise<void>;
  /** Ticks until every object has its copies. */
  replicate(): Promise<void>;
  /** Ticks until nothing is queued that is due. */
  emptyQueue(): Promise<void>;
  summary(): Promise<FleetSummary>;
  view(): Promise<FleetView>;
  standing(backend: string): Promise<BackendStanding>;
  objects(): Promise<ObjectRecord[]>;
  /** Runs something with a library that has seen nothing yet. */
  withClient<T>(use: (holdfast: Holdfast) => Promise<T>): Promise<T>;
  backend(name: string): StackBackend;
  bucket(name: string): Bucket;
  /** Writes a file of the demo's own; its object is checked at the end like any other. */
  makeFile(name: string, content: Uint8Array): SourceFile;
}

const pollMs = 100;
const tickMs = 30_000;
const pageSize = 500;

export function createStage(
  arranged: Arranged,
  dir: string,
  files: readonly SourceFile[],
  putAt: Map<string, number>,
  signal: AbortSignal,
): Stage {
  const { process: holdfastProcess, stack, buckets, work } = arranged;
  const { clock, store } = holdfastProcess;
  const stage: Stage = {
    arranged,
    files: [...files],
    putAt,
    unreachable: undefined,
    async tick(worker, { env = {}, ...event } = {}) {
      const deps = { ...holdfastProcess, env: { ...holdfastProcess.env, ...env } };
      const report = await runTick(deps, workers[worker], { ...event, deadline: clock.now() + tickMs });
      work.ended(report);
      return report;
    },
    async until(what, attempt) {
      let last = '';
      let movedAt = clock.now();
      while (!(await attempt())) {
        if (signal.aborted) throw new Error(`${what}: interrupted`);
        const seen = JSON.stringify(await summaryNow(holdfastProcess));
        if (seen !== last) movedAt = clock.now();
        last = seen;
        if (clock.now() - movedAt > stuckMs)
          throw new Error(`${what} did not happen; the last problem of a worker: ${work.problems.at(-1) ?? 'none'}`);
        await clock.sleep(pollMs);
      }
    },
    replicate: () =>
      stage.until('full replication', async () => {
        await stage.tick('replicator');
        return (await summaryNow(holdfastProcess)).underReplicated === 0;
      }),
    emptyQueue: () =>
      stage.until('an empty queue', async () => {
        await stage.tick('cleanup-queue');
        return (await standingNow(holdfastProcess)).isSettled;
      }),
    summary: () => summaryNow(holdfastProcess),
    view: () => readFleet(store, clock.now()),
    async standing(name) {
      const view = await stage.view();
      const { unhealthyAfterMs } = parseParameters(holdfastProcess.env, view.settings.overrides);
      return standingOf(view, name, clock.now(), unhealthyAfterMs);
    },
    async objects() {
      const all: ObjectRecord[] = [];
      let at: Place | undefined = firstPlace();
      while (at !== undefined) {
        const { objects, next } = await readStretch(store, shards, at, pageSize);
        all.push(...objects);
        at = next;
      }
      return all;
    },
    async withClient(use) {
      const client = createClient(holdfastProcess);
      try {
        return await use(client);
      } finally {
        await client.close();
      }
    },
    backend: (name) => stack.backends.find((backend) => backend.name === name)!,
    bucket: (name) => buckets.find((bucket) => bucket.name === name)!,
    makeFile(name, content) {
      const folder = join(dir, 'made');
      mkdirSync(folder, { recursive: true });
      const path = join(folder, name);
      writeFileSync(path, content);
      return { key: `holdfast-demo/${name}`, path, sizeBytes: content.length };
    },
  };
  return stage;
}
