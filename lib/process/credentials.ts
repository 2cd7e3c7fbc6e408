import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { awsAdvice, awsAnswer } from '../base/aws-advice.ts';
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, CredentialsConfig } from '../config/fleet-file.ts';
import { BackendError } from '../fleet/backend.ts';
import type { S3Credentials, S3KeySource, S3Keys } from '../fleet/s3/options.ts';

/** What resolving credentials takes from the process. */
export interface CredentialDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Text of a secret of Secrets Manager. */
  readSecret(arn: string): Promise<string>;
}

/** A rotated secret is noticed within this time, even where the former keys still work. */
const secretLifeMs = 30 * 60_000;
/** A secret is read again this seldom on account of refusals: most of them are about something else. */
const renewalMs = 60_000;

/** Finds the keys that a fleet file refers to. */
export interface CredentialResolver {
  /**
   * Keys for a backend, or what fetches them again when they expire.
   * Throws `BackendError` `missing-credentials`, saying what this process lacks.
   */
  resolve(backend: Pick<BackendConfig, 'name' | 'region'>, wanted: CredentialsConfig): Promise<S3Credentials>;
}

export function createCredentialResolver(deps: CredentialDeps): CredentialResolver {
  const secrets = new Map<string, Secret>();
  const read = (arn: string): Secret => {
    const secret = { at: deps.clock.now(), keys: deps.readSecret(arn).then(keysOfSecret) };
    secrets.set(arn, secret);
    secret.keys.catch(() => secrets.get(arn) === secret && secrets.delete(arn));
    return secret;
  };
  const current = (arn: string): Secret => {
    const known = secrets.get(arn);
    return known !== undefined && deps.clock.now() - known.at < secretLifeMs ? known : read(arn);
  };
  const renewals = new Map<string, { readonly at: number; readonly done: Promise<void> }>();
  /** The former keys stay in use where the secret cannot be read. */
  const readAgain = async (arn: string): Promise<void> => {
    const former = secrets.get(arn);
    const renewed = read(arn);
    try {
      await renewed.keys;
    } catch {
      if (former !== undefined) secrets.set(arn, former);
    }
  };
  const sourceOf = (arn: string): S3KeySource => {
    const renew = async (refused: S3Keys): Promise<boolean> => {
      if (!isSame(await current(arn).keys, refused)) return true;
      const last = renewals.get(arn);
      const isDue = last === undefined || deps.clock.now() - last.at >= renewalMs;
      const renewal = isDue ? { at: deps.clock.now(), done: readAgain(arn) } : last;
      renewals.set(arn, renewal);
      await renewal.done;
      return !isSame(await current(arn).keys, refused);
    };
    return Object.assign(() => current(arn).keys, { renew });
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
        await current(wanted.secretArn).keys;
      } catch (error) {
        throw missing(
          `its secret "${wanted.secretArn}" could not be read (${awsAnswer(error)})${secretAdvice(error)}`,
          error,
        );
      }
      return sourceOf(wanted.secretArn);
    },
  };
}

/** A secret as it was read last. */
interface Secret {
  readonly at: number;
  readonly keys: Promise<S3Keys>;
}

function isSame(a: S3Keys, b: S3Keys): boolean {
  return a.accessKeyId === b.accessKeyId && a.secretAccessKey === b.secretAccessKey;
}

/** What holds no keys says so by itself. */
function secretAdvice(error: unknown): string {
  const { name, message } = error as Error;
  const usual = 'check that it exists in the region that its ARN names, and that this process may read it';
  return name === 'Error' ? '' : `; ${awsAdvice(name, message) ?? usual}`;
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

/** The SDK's own chain: environment, profile, container, Lambda or instance role. Every process has loaded this client of it. */
function roleKeys(region: string): () => Promise<S3Keys> {
  const { credentials } = new DynamoDBClient({ region }).config;
  return async () => {
    try {
      return await credentials();
    } catch (cause) {
      const places = 'AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.aws and the role of this machine or function';
      throw new Error(`"credentials": "role" looks in ${places}, and found none`, { cause });
    }
  };
}
