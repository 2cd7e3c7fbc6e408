import type { WorkerName } from '../lib/config/parameters.ts';

/** A function that may touch the fleet: a worker, or the one that applies the fleet file. */
export type Actor = WorkerName | 'apply';
/** Whoever is granted something: a function, or an application that uses the library. */
export type Grantee = Actor | 'application';
