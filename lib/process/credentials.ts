import { S3Client } from '@aws-sdk/client-s3';
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, CredentialsConfig } from '../config/fleet-file.ts';
import { BackendError } from '../fleet/backend.ts';
import type { S3Credentials, S3Keys } from '../fleet/s3/connection.ts';

/** What resolving credentials takes from the process. */
export interface CredentialDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Text of a secret of Secrets Manager. */
  readSecret(arn: string): Promise<string>;
}

/** A rotated secret is noticed within this time. */
const secretLifeMs = 30 * 60_000;

/** Finds the keys that a fleet file refers to. */
export interface CredentialResolver {
  /**
   * Keys for a backend, or what fetches them again when they expire.
   * Throws `BackendError` `missing-credentials`, saying what this process lacks.
   */
  resolve(backend: Pick<BackendConfig, 'name' | 'region'>, wanted: CredentialsConfig): Promise<S3Credentials>;
}

export function createCredentialResolver(deps: CredentialDeps): CredentialResolver {
  const secrets = new Map<string, { at: number; keys: Promise<S3Keys> }>();
  const secretKeys = (arn: string): Promise<S3Keys> => {
    const now = deps.clock.now();
    const existing = secrets.get(arn);
    if (existing !== undefined && now - existing.at < secretLifeMs) return existing.keys;
    const keys = deps.readSecret(arn).then((text) => ({
      ...keysOfSecret(text),
      expiration: new Date(now + secretLifeMs),
    }));
    secrets.set(arn, { at: now, keys });
    keys.catch(() => secrets.delete(arn));
    return keys;
  };
  return {
    async resolve({ name, region }, wanted) {
      const missing = (why: string, cause?: unknown) =>
        new BackendError('missing-credentials', name, `Cannot open backend "${name}": ${why}`, cause);
      if (wanted === 'role') return roleKeys(region);
      if ('env' in wanted) {
        const [idName, secretName] = [`${wanted.env}_ACCESS_KEY_ID`, `${wanted.env}_SECRET_ACCESS_KEY`];
        const unset = [idName, secretName].filter((variable) => !deps.env[variable]);
        if (unset.length > 0)
          throw missing(`${unset.join(' and ')} ${unset.length > 1 ? 'are' : 'is'} not set in this process`);
        return { accessKeyId: deps.env[idName]!, secretAccessKey: deps.env[secretName]! };
      }
      // A copy: the SDK writes into what it is given.
      if ('accessKeyId' in wanted) return { accessKeyId: wanted.accessKeyId, secretAccessKey: wanted.secretAccessKey };
      try {
        await secretKeys(wanted.secretArn);
      } catch (error) {
        throw missing(`its secret "${wanted.secretArn}" could not be read (${(error as Error).message})`, error);
      }
      return () => secretKeys(wanted.secretArn);
    },
  };
}

function keysOfSecret(text: string): S3Keys {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
  const { accessKeyId, secretAccessKey } = (parsed ?? {}) as Record<string, unknown>;
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string') {
    throw new Error('it must be JSON with "accessKeyId" and "secretAccessKey"');
  }
  return { accessKeyId, secretAccessKey };
}

/** The SDK's own chain: environment, profile, container, Lambda or instance role. */
function roleKeys(region: string): () => Promise<S3Keys> {
  const { credentials } = new S3Client({ region }).config;
  return () => credentials();
}
