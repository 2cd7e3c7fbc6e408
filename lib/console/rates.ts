import { defined } from '../base/defined.ts';
import { shareOfRanges } from '../operations/run-pass.ts';
import { passHeader } from '../store/pass-rows.ts';
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

/** Passes under way, by what their ranges say; those of a pass before may be left among them. */
export function passesUnderWay({ ranges, fleet }: Readings): WorkFigures[] {
  return [...ranges].map(([name, all]) => {
    const { number, startedAt } = passHeader(fleet, name);
    const current = all.filter(({ pass }) => pass === number);
    const done = current.filter(({ position }) => position.phase === 'done').length;
    const listed = current.reduce((sum, range) => sum + range.listed, 0);
    const seconds = Math.max(1, (fleet.readAt - startedAt) / 1000);
    const share = shareOfRanges(current);
    return {
      id: `pass/${name}`,
      ...whatOf(name, current[0]?.backends ?? []),
      doneOf: { done, all: current.length },
      objectsPerSecond: listed / seconds,
      ...(share > 0 && { secondsLeft: (seconds * (1 - share)) / share }),
    };
  });
}

const kinds: Readonly<Record<string, string>> = {
  import: 'Import from',
  recover: 'Recovery of',
  'delete-unrecorded': 'Deletion of unrecorded files of',
  'delete-superseded': 'Deletion of superseded files of',
};

/** The name of a pass begins with its kind, unless it is one of the reconciler's own. */
function whatOf(name: string, backends: readonly string[]): Pick<WorkFigures, 'what' | 'href'> {
  const kind = kinds[name.split('/', 1)[0]!] ?? 'Pass over';
  const [first] = backends;
  return { what: `${kind} ${backends.join(', ')}`, ...(first !== undefined && { href: `#/backend/${first}` }) };
}
