import type { WorkerName } from '../lib/config/parameters.ts';

/** A function that may touch the fleet: a worker, the one that applies the fleet file, or the one that takes events of buckets. */
export type Actor = WorkerName | 'apply' | 'importer';
/** Whoever is granted something: a function, or an application that uses the library. */
export type Grantee = Actor | 'application';
