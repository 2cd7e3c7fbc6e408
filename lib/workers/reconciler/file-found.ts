import type { Entry } from '../../store/model.ts';
import type { ListedOn } from './joined-feed.ts';
import type { KeyTurn } from './key-turn.ts';

/** A file as the backends list it: one or several of one key, and the entry at that key. */
export interface FileFound {
  readonly key: string;
  /** In the order in which one is preferred where they differ. */
  readonly files: readonly ListedOn[];
  readonly entry: Entry | null;
  readonly askedAt: number;
}

/** What became of a file on one backend. */
export interface FileResult {
  readonly backend: string;
  readonly turn: KeyTurn;
}
