import { bytes, inDollars, plural } from '../base/amounts.ts';
import { printable } from '../base/printable.ts';
import type { DrainPlan } from './drain-plan.ts';
import type { DrainWarning } from './drain-warnings.ts';
import type { DrainedBytes, Undrained } from './undrain.ts';
import type { WaitingDeletions } from './waiting-deletions.ts';

/** What a drain would do, as a sentence. */
export function sayDrainPlan(
  name: string,
  { holds, copies, imported, egressUsd, usd }: DrainPlan,
  deletes: boolean,
): string {
  const egress = egressUsd === 0 ? '' : `, at most ${inDollars(egressUsd)} for egress`;
  const price = copies.objects === 0 ? '' : `${egress}, ${inDollars(usd)} in all`;
  const files =
    imported.objects === 0
      ? ''
      : `; ${plural(imported.objects, 'imported file')} ${deletes ? 'are deleted once they are elsewhere' : 'stay where they are'}`;
  const copyCount = plural(copies.objects, 'copy');
  return `To drain ${name}, which holds ${plural(holds.objects, 'object')}: ${copyCount} to make elsewhere (${bytes(copies.bytes)}${price})${files}`;
}

/** What may keep a drain from its end, as a sentence. */
export function sayDrainWarning(name: string, found: DrainWarning): string {
  switch (found.warning) {
    case 'no-target': {
      const { policy, copies } = found;
      return `${plural(copies.objects, 'object')} (${bytes(copies.bytes)}) of policy "${policy}" can go to no other backend: they stay on ${name} until there is one`;
    }
    case 'together': {
      const { policy, label, objects } = found;
      return `policy "${policy}" keeps copies apart by "${label}", and without ${name} too few values of it remain: copies of ${plural(objects, 'object')} will stand together until there is another backend`;
    }
    case 'no-room': {
      const { backends, copies, freeBytes } = found;
      return `${backends.join(' and ')} have room for ${bytes(freeBytes)}, and ${bytes(copies.bytes)} (${plural(copies.objects, 'copy')}) must go there: the drain stops when they are full; raise their quota, or add a backend`;
    }
    case 'unreachable': {
      const { policy, factor, answering } = found;
      const who = answering.length === 0 ? 'none' : `only ${answering.join(' and ')}`;
      return `policy "${policy}" asks for ${plural(factor, 'backend')}, and of those that remain ${who} can be reached now`;
    }
  }
}

/** What keeps a drain from its end for long although its copies are elsewhere, and how to go on, as a sentence. */
export function sayWaiting(name: string, found: WaitingDeletions): string {
  const least = 'isAll' in found && !found.isAll ? 'at least ' : '';
  const which = `${least}${plural(found.items.objects, 'queue item')} (${bytes(found.items.bytes)}) of ${name}`;
  switch (found.waiting) {
    case 'restored': {
      const why = `${which} were queued by tables that were restored since`;
      return found.dueAt === undefined
        ? `${why}: their bytes stay until \`holdfast recover --delete-superseded\` lets them go, and seven days more. The drain does not end before; to let ${name} go as it is, \`apply --park\` a fleet file without it`
        : `${why}: their bytes are deleted from ${timeOf(found.dueAt)} on, where a recorded copy verifies or the object was deleted. The drain does not end before`;
    }
    case 'kept':
      return `${which} are kept for a time, the last until ${timeOf(found.until)}, so that they can be brought back: the drain does not end before`;
    case 'given-up':
      return `${which} could not be deleted: \`holdfast queue dead\` says why, and \`holdfast queue requeue\` tries again`;
  }
}

function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().replace('T', ' ').slice(0, 16)} UTC`;
}

/** What the end of a drain led to, line by line. */
export function sayUndrained(name: string, undrained: Undrained): string {
  if (undrained.outcome !== 'undrained') return `${name} does not drain`;
  const { rejoined, deleted, deletedBefore, unsure } = undrained;
  const list = (what: string, all: readonly DrainedBytes[]) =>
    all.length === 0 ? [] : [`${what}: ${all.map(({ storageKey }) => printable(storageKey, 'one-line')).join(', ')}`];
  return [
    `${name} takes part again; ${plural(rejoined, 'copy')} rejoined. Files that stayed rejoin with its next pass, or with \`holdfast import ${name}\``,
    ...(deletedBefore.objects === 0
      ? []
      : [
          `The drain had deleted ${plural(deletedBefore.objects, 'imported file')} (${bytes(deletedBefore.bytes)}); its audit lines name them`,
        ]),
    ...list('Deleted while the drain ended', deleted),
    ...list('Perhaps deleted, the backend does not answer', unsure),
  ].join('\n');
}
