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
  putAcked(generation: string, entry: Entry | undefined, copies: number): void;
  /** A record says another thing than before. */
  recordChanged(before: Entry | null, after: Entry | null): void;
}

/** A put that has committed goes by a fleet of at most five seconds ago; its reading takes a while. */
const ackSlackMs = 15_000;

export function createPlacesCheck(world: World, report: (violation: Violation) => void): PlacesCheck {
  const out = new Map<string, { readonly step: number; readonly at: number }>();
  const known = new Set<string>();
  const givenUp = new Set<string>();
  /** By generation: how many copies were recorded of it, and until when. */
  const counts = new Map<string, { readonly copies: number; until: number }[]>();
  const countOf = (entry: Entry | null) => (entry?.kind === 'object' ? Object.keys(entry.copies).length : 0);

  function mostLately(generation: string): number {
    const lately = (counts.get(generation) ?? []).filter(({ until }) => world.now - until <= ackSlackMs);
    return Math.max(0, ...lately.map(({ copies }) => copies));
  }

  return {
    recordChanged(before, after) {
      const last = counts.get(before?.generation ?? '')?.at(-1);
      if (last !== undefined) last.until = world.now;
      if (after?.kind !== 'object') return;
      const all = counts.get(after.generation) ?? [];
      counts.set(after.generation, [...all, { copies: countOf(after), until: Number.POSITIVE_INFINITY }]);
    },
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
    putAcked(generation, entry, copies) {
      if (entry?.kind !== 'object' || entry.generation !== generation) return;
      // Others may have taken some away in the meantime.
      const most = mostLately(generation);
      if (most < copies)
        report(
          new Violation('places', `A put of "${entry.key}" on ${copies} backends returned with ${most}`, entry.key),
        );
      const isReadable = (backend: string) => world.now - (out.get(backend)?.at ?? world.now) <= ackSlackMs;
      const backends = Object.keys(entry.copies);
      if (backends.some(isReadable)) return;
      const message = `A put of "${entry.key}" is acknowledged whose only copies are on ${backends.join(', ')}, out of the file`;
      report(new Violation('places', message, entry.key));
    },
  };
}
