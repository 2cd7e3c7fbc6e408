import { Token } from 'aws-cdk-lib';
import { keysOf } from '../lib/config/encryption.ts';
import { isS3Host, locationProblems, type Waived } from '../lib/config/endpoints.ts';
import type { BackendConfig, CredentialsConfig } from '../lib/config/fleet-file.ts';
import { type Parameters, parseParameters, scheduleMs, workerNames } from '../lib/config/parameters.ts';
import { type Inspected, inspectFleetFile, type ParsedFleetFile } from '../lib/config/parse-fleet-file.ts';
import { ConfigError } from '../lib/config/problems.ts';
import { type Deployment, parseDeployment } from './deployment.ts';

/** What can be deployed: checked as a whole. */
export interface Plan {
  readonly file: ParsedFleetFile;
  /** As it goes to `apply`. */
  readonly fleetText: string;
  readonly parameters: Parameters;
  readonly deployment: Deployment;
  /** The tuning parameters that were given, by name: what the functions get as their environment. */
  readonly tuning: Readonly<Record<string, string>>;
}

/** How a plan was given. */
export interface PlanOptions {
  /** Whether problems name options or properties of the construct [option]. */
  readonly givenAs?: 'option' | 'prop';
  /** Instead of those among the options; tokens may stand here. */
  readonly kmsKeyArns?: readonly string[];
}

/** Checks a fleet file and every option together. Throws a `ConfigError` that lists every problem. */
export function planDeployment(
  fleetText: string,
  tuning: Readonly<Record<string, string>>,
  options: Readonly<Record<string, string>>,
  { givenAs = 'option', kmsKeyArns }: PlanOptions = {},
): Plan {
  const problems: string[] = [];
  const attempt = <T>(read: () => T): T | null => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
      return null;
    }
  };
  const inspected = attempt(() => inspectText(fleetText));
  problems.push(...(inspected?.problems ?? []));
  const parameters = attempt(() => parseParameters(tuning));
  const deployment = attempt(() => parseDeployment(options, givenAs));
  if (inspected) problems.push(...fleetProblems(inspected.sound, deployment?.allowsPrivateEndpoints ?? []));
  if (parameters && deployment) problems.push(...timingProblems(parameters, deployment));
  if (parameters) problems.push(...tableProblems(parameters));
  problems.push(...sizeProblems(fleetText, tuning));
  if (problems.length > 0 || !inspected?.file || !parameters || !deployment)
    throw new ConfigError('This cannot be deployed', problems);
  return {
    file: inspected.file,
    fleetText,
    parameters,
    deployment: kmsKeyArns === undefined ? deployment : { ...deployment, kmsKeyArns },
    tuning,
  };
}

function inspectText(text: string): Inspected {
  try {
    return inspectFleetFile(JSON.parse(text));
  } catch (error) {
    throw new ConfigError('The fleet file has problems', [`The fleet file is not JSON (${(error as Error).message})`]);
  }
}

function fleetProblems({ backends, encryption }: Inspected['sound'], allowed: Waived): string[] {
  const rawKeys = keysOf(encryption).flatMap((key) => ('rawKeyEnv' in key ? [key.rawKeyEnv] : []));
  return [
    ...locationProblems(backends, allowed).map(
      (problem) => `${problem}; HOLDFAST_ALLOW_PRIVATE_ENDPOINTS (the property allowPrivateEndpoints) waives this`,
    ),
    ...backends.flatMap((backend) => [
      ...credentialProblems(backend, 'credentials', backend.credentials),
      ...(backend.deleteCredentials ? credentialProblems(backend, 'deleteCredentials', backend.deleteCredentials) : []),
    ]),
    ...rawKeys.map(
      (name) =>
        `encryption: {"rawKeyEnv": "${name}"} would put the key into the functions' environment; use {"kmsKeyArn"}`,
    ),
  ];
}

function credentialProblems(backend: BackendConfig, field: string, credentials: CredentialsConfig): string[] {
  const of = `Backend "${backend.name}": ${field}`;
  if (credentials === 'role') return [];
  if ('env' in credentials)
    return [`${of} {"env"} would put the keys into the functions' environment; use {"secretArn"}`];
  if ('accessKeyId' in credentials)
    return [`${of} are literal keys, which a template would publish; use {"secretArn"}`];
  // A token is an ARN at deployment.
  if (Token.isUnresolved(credentials.secretArn)) return [];
  const isArn = /^arn:[^:]+:secretsmanager:[^:]+:\d{12}:secret:[^*]+$/.test(credentials.secretArn);
  return isArn ? [] : [`${of}: "${credentials.secretArn}" is not the ARN of a secret of Secrets Manager`];
}

/** Whether a backend is a bucket of AWS itself. */
export function isOnAws({ endpoint }: Pick<BackendConfig, 'endpoint'>): boolean {
  return endpoint === undefined || isS3Host(new URL(endpoint).hostname);
}

function timingProblems(parameters: Parameters, { sizes }: Deployment): string[] {
  return workerNames.flatMap((worker) => {
    const { schedule } = parameters.workers[worker];
    const { timeoutSeconds } = sizes[worker];
    const periodMs = schedule.startsWith('rate(') ? scheduleMs(schedule) : null;
    if (periodMs === null || periodMs >= timeoutSeconds * 1000) return [];
    return [`The ${worker} runs at ${schedule}, which is shorter than its timeout of ${timeoutSeconds} s`];
  });
}

function tableProblems({ tables }: Parameters): string[] {
  const names = Object.values(tables);
  return new Set(names).size === names.length ? [] : [`The three tables need three names: ${names.join(', ')}`];
}

/** Lambda's limit for all environment variables of a function, less what the stack itself puts there. */
const environmentBytes = 4096 - 512;
/** The file in force is one item of DynamoDB (400 KB), with a fingerprint for each backend. */
const fleetBytes = 200_000;

function sizeProblems(fleetText: string, tuning: Readonly<Record<string, string>>): string[] {
  const bytes = Object.entries(tuning).reduce((sum, [name, value]) => sum + Buffer.byteLength(name + value), 0);
  const size = Buffer.byteLength(fleetText);
  return [
    ...(bytes <= environmentBytes
      ? []
      : [
          `The tuning parameters take ${bytes} bytes; the environment of a Lambda function has room for ${environmentBytes}`,
        ]),
    ...(size <= fleetBytes
      ? []
      : [`The fleet file has ${size} bytes; at most ${fleetBytes} fit into DynamoDB and CloudFormation`]),
  ];
}
