import type { Admission } from '../../base/admission.ts';

/** A buffer that somebody holds. */
export interface HeldBuffer {
  readonly bytes: Buffer;
  giveBack(): void;
}

/** Memory for parts on their way: bounded, and used again instead of being left to the garbage collector. */
export interface PartBuffers {
  /** Resolves when a buffer of this size fits, first come, first served. */
  take(sizeBytes: number): Promise<HeldBuffer>;
  /** Whether parts of this size are held in memory at all; larger ones stream. */
  holds(sizeBytes: number): boolean;
}

/** @param maxBytes no part above half of this is held, so that two are on their way at a time */
export function createPartBuffers(admission: Admission, maxBytes: number): PartBuffers {
  let free: Buffer[] = [];
  return {
    holds: (sizeBytes) => sizeBytes <= maxBytes / 2,
    async take(sizeBytes) {
      const leave = await admission.enter(sizeBytes);
      const existing = free.findIndex(({ length }) => length === sizeBytes);
      // Buffers of another size are not kept: those in use and those kept are together no more than were admitted.
      const bytes = existing >= 0 ? free.splice(existing, 1)[0]! : Buffer.allocUnsafeSlow(sizeBytes);
      if (existing < 0) free = [];
      return {
        bytes,
        giveBack() {
          free.push(bytes);
          leave();
        },
      };
    },
  };
}
