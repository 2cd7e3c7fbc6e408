import { defined } from '../base/defined.ts';
import type { FleetFigures } from './overview.ts';
import type { CountFigures, WorkFigures } from './protocol.ts';
import type { Readings } from './readings.ts';

/** What was left to do of several things at one moment. */
export interface Sample {
  readonly at: number;
  /** By the work's id. */
  readonly left: ReadonlyMap<string, CountFigures>;
}

/** Rates are those of this last stretch of time. */
const windowMs = 120_000;

/** Something that is under way, and what is left of it. */
interface Underway {
  readonly id: string;
  readonly what: string;
  readonly left: CountFigures;
  readonly href: string;
}

function underwayOf(figures: FleetFigures): Underway[] {
  const short = figures.attention.find(({ name }) => name === 'under-replicated')!;
  const queued = (state: string): CountFigures => figures.queue.find((one) => one.state === state)!;
  const all: Underway[] = [
    {
      id: 'replication',
      what: 'Objects that lack copies',
      left: { objects: short.objects, bytes: 0 },
      href: '#/objects?which=under-replicated',
    },
    {
      id: 'transfers',
      what: 'Big copies, in parts',
      left: queued('transfer'),
      href: '#/queue?state=transfer',
    },
    { id: 'cleanup', what: 'Bytes to delete', left: queued('cleanup'), href: '#/queue?state=cleanup' },
    ...figures.backends.flatMap(({ name, drain }): Underway[] =>
      drain === undefined
        ? []
        : [
            {
              id: `drain/${name}`,
              what: `Drain of ${name}`,
              left: { objects: drain.left, bytes: drain.leftBytes },
              href: `#/backend/${name}`,
            },
          ],
    ),
  ];
  return all.filter(({ left }) => left.objects > 0);
}

export function sampleOf(figures: FleetFigures): Sample {
  return { at: figures.readAt, left: new Map(underwayOf(figures).map(({ id, left }) => [id, left])) };
}

/** Those that a rate is still taken from, the new one last. */
export function withSample(samples: readonly Sample[], next: Sample): Sample[] {
  const kept = samples.filter(({ at }) => at !== next.at && next.at - at <= windowMs);
  return [...kept, next];
}

/** What goes on, how fast, and for how long still: by how much less was left to do at the end of the last minutes. */
export function workOf(figures: FleetFigures, samples: readonly Sample[]): WorkFigures[] {
  return underwayOf(figures).map(({ id, what, left, href }) => {
    const first = samples.find((sample) => sample.left.has(id));
    const seconds = first === undefined ? 0 : (figures.readAt - first.at) / 1000;
    const rate = (now: number, then: number) => (seconds > 0 && then > now ? (then - now) / seconds : undefined);
    const before = first?.left.get(id) ?? left;
    const objectsPerSecond = rate(left.objects, before.objects);
    const bytesPerSecond = rate(left.bytes, before.bytes);
    const secondsLeft = objectsPerSecond === undefined ? undefined : left.objects / objectsPerSecond;
    return { id, what, href, remaining: left, ...defined({ objectsPerSecond, bytesPerSecond, secondsLeft }) };
  });
}

/** Passes under way, by what their ranges say. */
export function passesUnderWay(
  { ranges }: Readings,
  readAt: number,
  startedAt: (name: string) => number,
): WorkFigures[] {
  return [...ranges].map(([name, all]) => {
    const done = all.filter(({ position }) => position.phase === 'done').length;
    const listed = all.reduce((sum, range) => sum + range.listed, 0);
    const seconds = Math.max(1, (readAt - startedAt(name)) / 1000);
    return {
      id: `pass/${name}`,
      what: `Pass: ${name}`,
      doneOf: { done, all: all.length },
      objectsPerSecond: listed / seconds,
    };
  });
}
