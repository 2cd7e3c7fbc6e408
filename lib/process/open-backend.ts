import type { Clock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import type { Ids } from '../base/ids.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import type { Capabilities } from '../fleet/backend.ts';
import { noteAnswer, noteRequest } from '../fleet/meter.ts';
import type { S3ConnectionOptions } from '../fleet/s3/options.ts';
import { createS3Backend, type S3Backend } from '../fleet/s3-backend.ts';
import type { CredentialResolver } from './credentials.ts';

export type BackendUse = 'read-write' | 'delete';

/** Opens backends, and keeps one handle for each as long as its configuration stays the same. */
export interface BackendOpener {
  /** Throws `BackendError` `missing-credentials` when this process has none for it. */
  open(config: BackendConfig, can: Capabilities, use: BackendUse): Promise<S3Backend>;
  /** Finds out what a backend can do. Needs the right to delete. */
  findCapabilities(config: BackendConfig): Promise<Capabilities>;
  close(): Promise<void>;
}

/** S3 itself heeds conditions, and the roles of functions let them create keys only with one: nobody waits for a check. */
const heedsConditions: Capabilities = { conditionalPut: true, conditionalCompletion: true };

export interface OpenerDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly credentials: CredentialResolver;
  /** Where S3 itself is, if not where it is for everybody: `AWS_ENDPOINT_URL_S3`, as in every AWS tool. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export function createBackendOpener({ clock, ids, credentials, env }: OpenerDeps): BackendOpener {
  const open = new Map<string, { readonly fingerprint: string; readonly backend: Promise<S3Backend> }>();
  const ownEndpoint = env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined;
  const addressOf = (config: BackendConfig) => ({
    name: config.name,
    ...defined({ endpoint: config.endpoint ?? ownEndpoint }),
    region: config.region,
    bucket: config.bucket,
    prefix: config.prefix,
    pathStyle: config.pathStyle,
    clock,
  });
  const create = async (config: BackendConfig, can: Capabilities, use: BackendUse): Promise<S3Backend> => {
    const wanted = use === 'delete' ? (config.deleteCredentials ?? config.credentials) : config.credentials;
    const keys = await credentials.resolve(config, wanted);
    const capabilities = config.credentials === 'role' ? { ...heedsConditions, ...can } : can;
    const { storageClass } = config;
    const noted = { onRequest: noteRequest, onAnswer: noteAnswer };
    const how = { credentials: keys, capabilities, ...noted, ...defined({ storageClass }) };
    return createS3Backend({ ...addressOf(config), ...how });
  };
  return {
    open(config, can, use) {
      const name = `${use} ${config.name}`;
      const fingerprint = JSON.stringify([config, can]);
      const existing = open.get(name);
      if (existing?.fingerprint === fingerprint) return existing.backend;
      // A handle of an older configuration may still be in use; its idle sockets keep nothing alive.
      const backend = create(config, can, use);
      open.set(name, { fingerprint, backend });
      backend.catch(() => {
        if (open.get(name)?.backend === backend) open.delete(name);
      });
      return backend;
    },
    async findCapabilities(config) {
      const options: Omit<S3ConnectionOptions, 'capabilities'> = {
        ...addressOf(config),
        credentials: await credentials.resolve(config, config.credentials),
        ...(config.deleteCredentials && {
          deleteCredentials: await credentials.resolve(config, config.deleteCredentials),
        }),
      };
      const { findCapabilities } = await import('../fleet/find-capabilities.ts');
      return findCapabilities(options, { ids });
    },
    async close() {
      const handles = await Promise.allSettled([...open.values()].map(({ backend }) => backend));
      open.clear();
      for (const handle of handles) if (handle.status === 'fulfilled') handle.value.close();
    },
  };
}
