import { type Backend, BackendError } from '../fleet/backend.ts';

/** A request to write, sent once, whose answer says that nothing was stored. */
export interface Refused {
  readonly outcome: 'refused';
  readonly error: BackendError;
}

/** What a refused write means for who sent it. Any other error is thrown on: something may be there, or come yet. */
export function refusal(to: Pick<Backend, 'name'>, error: unknown): Refused {
  if (error instanceof BackendError && error.backend === to.name && error.storesNothing)
    return { outcome: 'refused', error };
  throw error;
}
