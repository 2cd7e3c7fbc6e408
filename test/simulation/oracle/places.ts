import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Entry } from '../../../lib/store/model.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

/** Which backends are in the fleet file in force, and what that asks of those who read and write by it. */
export interface PlacesCheck {
  /** The table now holds this fleet file. */
  fileWritten(file: FleetFile): void;
  /** An operator gives a backend up: what it holds loses its names. */
  forgotten(backend: string): void;
  wasForgotten(backend: string): boolean;
  /** Whether a backend has been out of the file since before a step. */
  isOutSinceBefore(backend: string, step: number): boolean;
  /** A put was acknowledged, and this is what is recorded. */
  putAcked(generation: string, entry: Entry | undefined): void;
}

/** A put that has committed goes by a fleet of at most five seconds ago; its reading takes a while. */
const ackSlackMs = 15_000;

export function createPlacesCheck(world: World, report: (violation: Violation) => void): PlacesCheck {
  const out = new Map<string, { readonly step: number; readonly at: number }>();
  const known = new Set<string>();
  const givenUp = new Set<string>();
  return {
    fileWritten({ backends }) {
      const names = new Set(backends.map(({ name }) => name));
      for (const name of names) {
        known.add(name);
        out.delete(name);
      }
      for (const name of known)
        if (!names.has(name) && !out.has(name)) out.set(name, { step: world.step, at: world.now });
    },
    forgotten: (backend) => void givenUp.add(backend),
    wasForgotten: (backend) => givenUp.has(backend),
    isOutSinceBefore(backend, step) {
      const left = out.get(backend);
      return left !== undefined && left.step <= step;
    },
    putAcked(generation, entry) {
      if (entry?.kind !== 'object' || entry.generation !== generation) return;
      const isReadable = (backend: string) => world.now - (out.get(backend)?.at ?? world.now) <= ackSlackMs;
      const backends = Object.keys(entry.copies);
      if (backends.some(isReadable)) return;
      const message = `A put of "${entry.key}" is acknowledged whose only copies are on ${backends.join(', ')}, out of the file`;
      report(new Violation('places', message, entry.key));
    },
  };
}
