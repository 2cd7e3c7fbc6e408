import type { Owner, Ownership } from './owner.ts';

/** Why a bucket that is not ours is not, as a sentence; null when it is. */
export function ownershipProblem(
  { fleetId, backend: name }: Pick<Owner, 'fleetId' | 'backend'>,
  found: Ownership,
): string | null {
  const bucket = `The bucket of backend "${name}"`;
  switch (found.outcome) {
    case 'ours':
      return null;
    case 'absent':
      return `${bucket} has no owner object: it is missing, or not the bucket that was initialised; check \`bucket\` and \`prefix\` in the fleet file`;
    case 'newer':
      return `${bucket} knows a later start of this fleet than the tables: they were restored from a backup, or another copy of them is in use`;
    case 'another': {
      if (found.owner === '')
        return `${bucket} has an owner object without its user metadata: the server has lost it, at a restart perhaps, or it was copied without it, and the marks that say whose the copies there are may be gone as well`;
      const [fleet, backend] = found.owner.split(' ');
      if (fleet !== fleetId) return `${bucket} belongs to another fleet ("${found.owner}")`;
      if (backend !== name)
        return `${bucket} is that of backend "${backend}" of this fleet: a backend keeps its name, so give it back in the fleet file`;
      return `${bucket} belongs to another fleet, or to other tables of this one ("${found.owner}")`;
    }
  }
}
