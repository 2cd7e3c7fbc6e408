import { type Clock, systemClock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import { createIds, type Ids } from '../base/ids.ts';
import { type Log, silentLog } from '../base/log.ts';
import type { EncryptionConfig, KeyChecks } from '../config/encryption.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { parseParameters } from '../config/parameters.ts';
import type { TableNames } from '../config/tables.ts';
import type { Backend, Capabilities } from '../fleet/backend.ts';
import { createDynamoClient, type DynamoClientOptions } from '../store/dynamodb/client.ts';
import { createDynamoStore } from '../store/dynamodb/dynamo-store.ts';
import type { Store } from '../store/port.ts';
import { createUsageBook, type UsageBook } from '../store/usage-book.ts';
import type { Keyring } from '../transfer/keyring.ts';
import { createCredentialResolver } from './credentials.ts';
import { type BackendUse, createBackendOpener } from './open-backend.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface ProcessOptions {
  /** Tuning parameters, table names and backend credentials are read from here. */
  readonly env: Env;
  /** Go over the names in the environment. */
  readonly tables?: Partial<TableNames>;
  /** What is not given comes from the SDK's own environment. */
  readonly dynamodb?: DynamoClientOptions;
  readonly log?: Log;
  readonly clock?: Clock;
}

/**
 * Everything that workers, the library and `apply` need from a process, over DynamoDB and S3: it is their `TickDeps`,
 * `ClientDeps` and `ApplyDeps` at once.
 */
export interface HoldfastProcess {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  readonly env: Env;
  readonly tables: TableNames;
  readonly unreported: UsageBook;
  readonly keepsHistory: true;
  openBackend(config: BackendConfig, can: Capabilities, use: BackendUse): Promise<Backend>;
  findCapabilities(config: BackendConfig): Promise<Capabilities>;
  openKeyring(encryption: EncryptionConfig, checks?: KeyChecks): Promise<Keyring>;
  createTables(): Promise<void>;
  /** Closes every connection. */
  close(): Promise<void>;
}

/**
 * Wires a process. Nothing is sent yet.
 *
 * @throws ConfigError when a parameter in the environment has a bad value
 */
export function createProcess(options: ProcessOptions): HoldfastProcess {
  const { env, log = silentLog, clock = systemClock } = options;
  const tables = { ...parseParameters(env).tables, ...options.tables };
  const ids = createIds(clock);
  const client = createDynamoClient({ ...dynamoOptions(env), ...options.dynamodb });
  const credentials = createCredentialResolver({ env, clock, readSecret });
  const opener = createBackendOpener({ clock, ids, credentials, env });
  return {
    store: createDynamoStore({ client, tables, clock, ids }),
    clock,
    ids,
    log,
    env,
    tables,
    unreported: createUsageBook(),
    keepsHistory: true,
    openBackend: opener.open,
    findCapabilities: opener.findCapabilities,
    // Several megabytes of code that most fleets never need.
    openKeyring: async (encryption, checks) => (await import('./keyring.ts')).createKeyring(encryption, env, checks),
    async createTables() {
      const { createTables } = await import('../store/dynamodb/create-tables.ts');
      return createTables(client, tables, clock);
    },
    async close() {
      await opener.close();
      client.destroy();
    },
  };
}

/** The SDK reads the real environment itself; another one is read here. */
function dynamoOptions(env: Env): DynamoClientOptions {
  if (env === process.env) return {};
  const endpoint = env.AWS_ENDPOINT_URL_DYNAMODB;
  const { AWS_REGION: region, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  return {
    ...defined({
      endpoint,
      region,
      credentials: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined,
    }),
  };
}

/** Loaded when a fleet file first names a secret: most processes never need it. */
async function readSecret(arn: string): Promise<string> {
  const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
  const region = /^arn:[^:]+:secretsmanager:([^:]+):/.exec(arn)?.[1];
  const client = new SecretsManagerClient(defined({ region }));
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: arn }));
    if (SecretString === undefined) throw new Error('it holds no text');
    return SecretString;
  } finally {
    client.destroy();
  }
}
