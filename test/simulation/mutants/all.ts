import { cleanupMutants } from './cleanup.ts';
import { commitMutants } from './commit.ts';
import { contentMutants } from './content.ts';
import { copiesMutants } from './copies.ts';
import type { Mutant } from './mutated.ts';
import { passesMutants } from './passes.ts';
import { placesMutants } from './places.ts';
import { clientMutants } from './puts.ts';
import { readsMutants } from './reads.ts';
import { refusalsMutants } from './refusals.ts';
import { spreadMutants } from './spread.ts';
import { turnsMutants } from './turns.ts';

/** Defects that the simulation must find. */
export const mutants: readonly Mutant[] = [
  ...commitMutants,
  ...clientMutants,
  ...cleanupMutants,
  ...contentMutants,
  ...copiesMutants,
  ...passesMutants,
  ...placesMutants,
  ...readsMutants,
  ...refusalsMutants,
  ...spreadMutants,
  ...turnsMutants,
];
