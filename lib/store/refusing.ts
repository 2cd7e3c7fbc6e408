import type { FleetView } from './fleet-view.ts';
import { rowKeys } from './row-keys.ts';

/** That a backend takes no writes, kept over ticks. Times in milliseconds since the epoch. */
export interface Refusing {
  readonly since: number;
  /** Checks in a row that were refused. */
  readonly attempts: number;
  readonly retryAt: number;
  readonly message: string;
}

/** What is known of a backend that took no writes when it was tried last; undefined for any other. */
export function refusingOf(view: Pick<FleetView, 'row'>, backend: string): Refusing | undefined {
  return view.row(rowKeys.refusing(backend))?.data as Refusing | undefined;
}

/** The sentence for people. */
export function refusingProblem(backend: string, { message, since, retryAt }: Refusing): string {
  const [first, next] = [since, retryAt].map((at) => new Date(at).toISOString());
  return `Backend "${backend}" takes no writes since ${first}, it is tried again at ${next}: ${message}`;
}
