import { plural } from '../base/amounts.ts';
import type { FleetFigures } from './overview.ts';
import type { BackendFigures, ChangeFigures } from './protocol.ts';

type Line = Omit<ChangeFigures, 'at'> & { readonly at?: number };

/**
 * What changed between two looks at the fleet, as lines of the timeline. At the first look: what the fleet remembers of the time
 * before. Passes are none of it: each backend has one every few minutes, and the overview says when the last one was.
 */
export function changesBetween(before: FleetFigures | undefined, after: FleetFigures): ChangeFigures[] {
  const lines = before === undefined ? remembered(after) : differences(before, after);
  return lines.map((line) => ({ at: after.readAt, ...line })).sort((a, b) => b.at - a.at);
}

function remembered({ backends, recovery }: FleetFigures): Line[] {
  const none: readonly Line[] = [];
  return [
    ...backends.flatMap(({ name, unhealthySince, drain, takesNoWrites }): readonly Line[] => [
      ...(unhealthySince === undefined ? none : [bad(`${name} stopped answering`, unhealthySince)]),
      ...(drain === undefined ? none : [neutral(`The drain of ${name} began`, drain.since)]),
      ...(takesNoWrites === undefined ? none : [bad(`${name} takes no writes`, takesNoWrites.since)]),
    ]),
    ...(recovery === undefined ? none : [bad('Buckets were taken over: a recovery is due', recovery.since)]),
  ];
}

function differences(before: FleetFigures, after: FleetFigures): Line[] {
  const lines: Line[] = [];
  if (after.version !== before.version) lines.push(neutral(`Version ${after.version} of the fleet file is in force`));
  for (const backend of after.backends) {
    const former = before.backends.find(({ name }) => name === backend.name);
    lines.push(...(former === undefined ? [neutral(`${backend.name} is new`)] : ofBackend(former, backend)));
  }
  for (const { name } of before.backends)
    if (!after.backends.some((backend) => backend.name === name)) lines.push(neutral(`${name} is gone`));
  for (const { name, isPaused } of after.workers) {
    const was = before.workers.find((worker) => worker.name === name)?.isPaused ?? false;
    if (was !== isPaused) lines.push(neutral(isPaused ? `The ${name} was paused` : `The ${name} runs again`));
  }
  lines.push(...ofSettings(before.overrides, after.overrides), ...ofAttention(before, after));
  if ((before.recovery === undefined) !== (after.recovery === undefined))
    lines.push(after.recovery === undefined ? good('The recovery is complete') : bad('A recovery is due'));
  return lines;
}

function ofBackend(before: BackendFigures, after: BackendFigures): Line[] {
  const { name } = after;
  const lines: Line[] = [];
  const [wasOpen, isOpen] = [before.breaker !== 'closed', after.breaker !== 'closed'];
  if (!wasOpen && isOpen) lines.push(bad(`${name} does not answer: its breaker opened`, after.unhealthySince));
  if (wasOpen && !isOpen) lines.push(good(`${name} answers again: its breaker closed`));
  const isAsked = after.drain !== undefined || after.isLeaving;
  if (before.isCounted && !after.isCounted)
    lines.push((isAsked ? neutral : bad)(`Copies on ${name} do not count any more`));
  if (!before.isCounted && after.isCounted) lines.push(good(`Copies on ${name} count again`));
  if (before.drain === undefined && after.drain !== undefined)
    lines.push(neutral(`The drain of ${name} began`, after.drain.since));
  if (before.drain?.state === 'draining' && after.drain?.state === 'settling')
    lines.push(good(`${name} is empty: nothing names it any more`));
  if (before.drain !== undefined && after.drain === undefined) lines.push(neutral(`${name} does not drain any more`));
  if (before.takesNoWrites === undefined && after.takesNoWrites !== undefined)
    lines.push(bad(`${name} takes no writes: ${after.takesNoWrites.message}`, after.takesNoWrites.since));
  if (before.takesNoWrites !== undefined && after.takesNoWrites === undefined)
    lines.push(good(`${name} takes writes again`));
  return lines;
}

function ofSettings(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): Line[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].sort().flatMap((name): Line[] => {
    if (before[name] === after[name]) return [];
    const value = after[name];
    return [neutral(value === undefined ? `${name} is not set any more` : `${name} was set to ${value}`)];
  });
}

/** What nobody needed to look at a moment ago, or needs to look at no more. */
function ofAttention(before: FleetFigures, after: FleetFigures): Line[] {
  return after.attention.flatMap(({ name, objects }): Line[] => {
    const was = before.attention.find((one) => one.name === name)?.objects ?? 0;
    if (name === 'at-risk' || (was === 0) === (objects === 0)) return [];
    return [objects === 0 ? good(`Nothing is ${name} any more`) : bad(`${plural(objects, 'object')} ${name}`)];
  });
}

function line(kind: ChangeFigures['kind'], sentence: string, at: number | undefined): Line {
  return at === undefined ? { kind, sentence } : { kind, sentence, at };
}

const good = (sentence: string, at?: number) => line('good', sentence, at);
const bad = (sentence: string, at?: number) => line('bad', sentence, at);
const neutral = (sentence: string, at?: number) => line('neutral', sentence, at);
