import { hash } from 'node:crypto';

/** User metadata that tells Holdfast's own bytes from an external client's, and from a copy a person made of them. */
export const markName = 'holdfast';

/** What a mark says, once it was found to belong to the bytes it is on. */
export interface Mark {
  readonly fleetId: string;
  readonly generation: string;
}

/** The mark for bytes written by a fleet at a storage key of a backend: `<fleet id> <generation> <place>`. */
export function markFor(mark: Mark, backend: string, storageKey: string): string {
  return `${mark.fleetId} ${mark.generation} ${placeOf(backend, storageKey)}`;
}

/** `ours` at this very place · `foreign` another fleet's, or ours copied here by someone else · `none`. */
export type MarkReading =
  | { readonly outcome: 'ours'; readonly generation: string }
  | { readonly outcome: 'foreign' }
  | { readonly outcome: 'none' };

/** A mark as we write it: nothing before, behind or between. */
const written = /^(\S+) ([0-7][0-9A-HJKMNP-TV-Z]{25}) ([0-9a-f]{32})$/;

export function readMark(
  metadata: Readonly<Record<string, string>>,
  fleetId: string,
  backend: string,
  storageKey: string,
): MarkReading {
  const text = metadata[markName];
  if (text === undefined) return { outcome: 'none' };
  const [, fleet, generation, place] = written.exec(text) ?? [];
  if (fleet !== fleetId || place !== placeOf(backend, storageKey)) return { outcome: 'foreign' };
  return { outcome: 'ours', generation: generation! };
}

function placeOf(backend: string, storageKey: string): string {
  return hash('sha256', `${backend}/${storageKey}`).slice(0, 32);
}
