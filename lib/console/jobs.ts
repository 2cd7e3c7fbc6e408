import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { HoldfastError } from '../client/error.ts';
import type { JobFigures } from './protocol.ts';

/** What something that goes on tells of itself. */
export interface JobTalk {
  readonly stop: AbortSignal;
  progress(progress: NonNullable<JobFigures['progress']>): void;
}

/** How it ended, line by line. */
export interface JobEnd {
  readonly state: 'done' | 'failed' | 'stopped';
  readonly result: readonly string[];
}

/** What this console was asked for that takes longer than an answer may. */
export interface Jobs {
  list(): readonly JobFigures[];
  /** Returns its id. Throws `closed` once the console is ending. */
  begin(what: string, run: (talk: JobTalk) => Promise<JobEnd>): string;
  /** False: there is none of that id under way. */
  stop(id: string): boolean;
  /** Stops all of them after what is in flight, and waits. */
  close(): Promise<void>;
}

export interface JobsDeps {
  readonly clock: Pick<Clock, 'now'>;
  readonly ids: Pick<Ids, 'ulid'>;
  /** Told whenever one of them has something new to say. */
  changed(): void;
}

const mostKept = 20;

interface Job {
  figures: JobFigures;
  readonly stop: AbortController;
  ended: Promise<void>;
}

export function createJobs({ clock, ids, changed }: JobsDeps): Jobs {
  let jobs: readonly Job[] = [];
  let isClosed = false;
  const update = (job: Job, more: Partial<JobFigures>) => {
    job.figures = { ...job.figures, ...more };
    changed();
  };
  return {
    list: () => jobs.map(({ figures }) => figures),
    begin(what, run) {
      if (isClosed) throw new HoldfastError('closed', `Cannot begin "${what}": the console is ending`);
      const id = ids.ulid();
      const stop = new AbortController();
      const figures: JobFigures = { id, what, startedAt: clock.now(), state: 'running' };
      const job: Job = { figures, stop, ended: Promise.resolve() };
      job.ended = run({ stop: stop.signal, progress: (progress) => update(job, { progress }) }).then(
        (end) => update(job, { ...end, endedAt: clock.now() }),
        (error: Error) => update(job, { state: 'failed', result: [error.message], endedAt: clock.now() }),
      );
      jobs = [job, ...jobs].filter((one, i) => i < mostKept || one.figures.state === 'running');
      changed();
      return id;
    },
    stop(id) {
      const job = jobs.find(({ figures }) => figures.id === id && figures.state === 'running');
      job?.stop.abort();
      return job !== undefined;
    },
    async close() {
      isClosed = true;
      for (const { stop } of jobs) stop.abort();
      await Promise.all(jobs.map(({ ended }) => ended));
    },
  };
}
