import type { Log } from '../base/log.ts';
import { createProcess } from '../process/process.ts';
import type { DynamoClientOptions } from '../store/dynamodb/client.ts';
import { createClient, type Holdfast } from './client.ts';

/** Where a client finds its fleet. Everything is optional: the environment says the rest. */
export interface HoldfastConfig {
  /** Names of the three tables [`OBJECTS_TABLE`, `QUEUE_TABLE`, `CONTROL_TABLE`, else `holdfast-objects`, `-queue`, `-control`]. */
  readonly tables?: { readonly objects?: string; readonly queue?: string; readonly control?: string };
  /** Endpoint, region and credentials of DynamoDB [the AWS SDK's own environment]. */
  readonly dynamodb?: Pick<DynamoClientOptions, 'endpoint' | 'region' | 'credentials'>;
  /** Environment variables: tuning parameters and the credentials that the fleet file names [`process.env`]. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Receives warnings, e.g. of a copy that could not be read and was passed over [none]. */
  readonly log?: Log;
}

/**
 * Holdfast for an application: puts, reads, lists and deletes objects of the fleet whose tables it is given. The fleet file
 * in force is read from there, at most 5 s old. `close()` it at the end.
 *
 * @throws ConfigError when a parameter in the environment has a bad value
 */
export function createHoldfast(config: HoldfastConfig = {}): Holdfast {
  const holdfastProcess = createProcess({ ...config, env: config.env ?? process.env });
  const client = createClient(holdfastProcess);
  return {
    ...client,
    async close() {
      try {
        await client.close();
      } finally {
        await holdfastProcess.close();
      }
    },
  };
}
