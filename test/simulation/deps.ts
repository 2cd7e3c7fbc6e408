import type { Actors } from './actors.ts';
import type { BucketEvents } from './bucket-events.ts';
import type { ExternalClients } from './external-clients.ts';
import type { Faults } from './faults.ts';
import type { Plan } from './fleet.ts';
import type { Oracle } from './oracle/oracle.ts';
import type { Random } from './random.ts';
import type { Refusals } from './refusals.ts';
import type { Surroundings } from './surroundings.ts';
import type { World } from './world.ts';

/** What those share who let things happen. */
export interface ChaosDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly plan: Plan;
  readonly oracle: Oracle;
  readonly actors: Actors;
  readonly surroundings: Surroundings;
  readonly externalClients: ExternalClients;
  readonly bucketEvents: BucketEvents;
  readonly random: Random;
  /** Of those who delete, and think better of it. */
  readonly regrets: Random;
}

/** What those need beside it who let a fleet come to rest. */
export interface CalmDeps extends Omit<ChaosDeps, 'bucketEvents' | 'regrets'> {
  readonly refusals: Refusals;
  /** Of what is overtaken while it sleeps, in the end. */
  readonly overtakenRandom: Random;
  readonly step: () => Promise<boolean>;
}
