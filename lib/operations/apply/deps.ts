import type { Clock } from '../../base/clock.ts';
import type { Ids } from '../../base/ids.ts';
import type { Log } from '../../base/log.ts';
import type { BackendConfig } from '../../config/fleet-file.ts';
import { ConfigError } from '../../config/problems.ts';
import { type Backend, BackendError, type Capabilities } from '../../fleet/backend.ts';
import type { Store } from '../../store/port.ts';

/** What `apply` needs from the process it runs in. */
export interface ApplyDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  /** Where raw encryption keys are; absent: they are not looked at. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
  /** Finds out what a backend can do, by writing and deleting small objects below `.holdfast/capabilities/`. */
  findCapabilities(config: BackendConfig): Promise<Capabilities>;
}

export interface ApplyOptions {
  /** Claim buckets that belong to other tables: after the own tables were lost. */
  readonly takeOver?: boolean;
  /**
   * Which backends that still hold something may leave the file: `none`, `any` because a person said so, or `rollback`: when
   * the file is the one that was in force before this one ['none'].
   */
  readonly park?: 'none' | 'any' | 'rollback';
}

/** The file is as it should be; what it names, or this moment, did not let it be applied. */
export class NotApplied extends ConfigError {
  constructor(problems: readonly string[]) {
    super('The fleet file cannot be applied', problems);
  }
}

export function contended(): NotApplied {
  return new NotApplied([
    'another version was applied meanwhile: `holdfast apply --dry-run` shows what is different now',
  ]);
}

/** What a backend answered, for a person. Throws what is no answer of one. */
export function sentenceOf(error: unknown): string {
  if (error instanceof BackendError) return error.message;
  throw error;
}
