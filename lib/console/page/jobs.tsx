import type { JobFigures } from '../protocol.ts';
import { act } from './api.ts';
import { bytes, count, percent, span } from './figures.ts';
import { Action, Badge, Bar, doing, type Tone, When } from './parts.tsx';

const tones: Readonly<Record<JobFigures['state'], Tone>> = {
  running: 'neutral',
  done: 'good',
  failed: 'bad',
  stopped: 'warn',
};

/** What this console was asked for that takes a while. */
export function JobList({ jobs }: { readonly jobs: readonly JobFigures[] }) {
  return (
    <>
      {jobs.map((job) => (
        <article class="job" key={job.id} aria-label={job.what}>
          <div class="title">
            <h3>{job.what}</h3>
            <Badge tone={tones[job.state]}>{job.state}</Badge>
            {job.state === 'running' ? (
              <Action label={`Stop: ${job.what}`} run={() => doing(() => act('stop', { job: job.id }))}>
                Stop
              </Action>
            ) : (
              <span class="quiet">
                <When at={job.endedAt} />
              </span>
            )}
          </div>
          {job.progress !== undefined && <Progress of={job.progress} isRunning={job.state === 'running'} />}
          {job.result !== undefined && (
            <ul>
              {job.result.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          )}
        </article>
      ))}
    </>
  );
}

interface ProgressProps {
  readonly of: NonNullable<JobFigures['progress']>;
  readonly isRunning: boolean;
}

function Progress({ of: { listed, bytes: size, share, keysPerSecond, secondsLeft }, isRunning }: ProgressProps) {
  return (
    <>
      <p>
        {count(listed)} keys listed, {bytes(size)}
        {isRunning && keysPerSecond > 0 && `, ${count(keysPerSecond)} a second`}
        {isRunning && share !== undefined && `; about ${percent(share)}`}
        {isRunning && secondsLeft !== undefined && `, ${span(secondsLeft)} left`}
      </p>
      {isRunning && share !== undefined && <Bar label="Progress" parts={[{ ratio: share, tone: 'good' }]} />}
    </>
  );
}
