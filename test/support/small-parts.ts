import { afterAll, beforeAll } from 'vitest';
import { parameters } from '../../lib/config/parameters.ts';

/** A part is five of these: what S3 has a part of 5 MiB for happens as well with a 32nd of it, and in a 32nd of the time. */
export const unit = 2 ** 15;

const names = ['MULTIPART_ABOVE_BYTES', 'PART_BYTES'] as const;

/** In all tests of a file, fleets may have parts of any size. Files share a process: what they find is as usual. */
export function allowSmallParts(): void {
  const sizes = names.map((name) => parameters[name]!);
  const usual = sizes.map(({ min }) => ({ min }));
  beforeAll(() => {
    for (const size of sizes) Object.assign(size, { min: 1 });
  });
  afterAll(() => {
    for (const [i, size] of sizes.entries()) Object.assign(size, usual[i]);
  });
}
