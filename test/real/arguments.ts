import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { defined } from '../../lib/base/defined.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { servers } from './servers.ts';
import type { Target } from './target.ts';

export interface Arguments {
  readonly names: readonly string[];
  /** What is not installed is left out. */
  readonly isCachedOnly: boolean;
  /** What came of it is written down, and the page of compatibility made anew. */
  readonly isRecorded: boolean;
  /** One that is not well is tried once more, before that is believed. */
  readonly triesAgain: boolean;
  /** Three servers together, and none alone. */
  readonly onlyTogether: boolean;
  /** After so many minutes no other server is begun. */
  readonly minutes?: number;
  /** Path of a file of servers that are there already. */
  readonly endpoints?: string;
  /** Whoever runs this owns them, wherever they are. */
  readonly isOwn: boolean;
}

export function parseArguments(given: readonly string[]): Arguments {
  const rest = [...given];
  const flags = {
    isCachedOnly: takeFlag(rest, '--cached'),
    isRecorded: takeFlag(rest, '--record'),
    triesAgain: takeFlag(rest, '--again'),
    onlyTogether: takeFlag(rest, '--together'),
    isOwn: takeFlag(rest, '--yes-i-own-this'),
  };
  const endpoints = takeValue(rest, '--endpoints', 'the path of a file');
  const minutes = takeValue(rest, '--minutes', 'a number');
  const known = servers.map(({ name }) => name);
  const unknown = rest.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`There is no server "${unknown}" here; there are ${known.join(', ')}`);
  if (endpoints !== undefined && (rest.length > 0 || flags.isRecorded))
    throw new Error('--endpoints tries what its file names, and records nothing: give no names and no --record');
  return {
    names: rest,
    ...flags,
    ...defined({ endpoints, minutes: minutes === undefined ? undefined : Number(minutes) }),
  };
}

function takeFlag(args: string[], flag: string): boolean {
  const at = args.indexOf(flag);
  if (at !== -1) args.splice(at, 1);
  return at !== -1;
}

function takeValue(args: string[], flag: string, what: string): string | undefined {
  const at = args.indexOf(flag);
  if (at === -1) return undefined;
  const [, value] = args.splice(at, 2);
  if (value === undefined || value.startsWith('--')) throw new Error(`${flag} needs ${what}`);
  return value;
}

/**
 * Servers that are there already: an array of backends as a fleet file has them. What is tried is written below a prefix of
 * this run alone. Hundreds of requests go there: none that is not on this machine is asked before its owner said so.
 */
export function targetsIn(
  path: string,
  isOwn: boolean,
  runId: string,
  env: Readonly<Record<string, string | undefined>>,
): Target[] {
  const backends = backendsIn(path);
  return parseFleetFile({ backends, policies: { default: { factor: 1 } } }).backends.map((backend) => {
    const { name, endpoint, region, bucket, prefix, pathStyle, credentials } = backend;
    if (!isOwn && !isLoopback(endpoint))
      throw new Error(
        `"${name}" at ${endpoint ?? 'AWS'} is not on this machine: say --yes-i-own-this if it is yours to try`,
      );
    const at = { region, bucket, prefix: `${prefix}holdfast-real-${runId}/`, pathStyle };
    return { name, ...at, credentials: keysIn(name, credentials, env), ...defined({ endpoint }) };
  });
}

function backendsIn(path: string): unknown[] {
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`${path} cannot be read: ${(error as Error).message}`);
  }
  if (Array.isArray(given) && given.length > 0) return given;
  throw new Error(`${path} must be an array of backends, as a fleet file has it in "backends"`);
}

function isLoopback(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return false;
  const host = new URL(endpoint).hostname.replace(/\.$/, '');
  return host === 'localhost' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'));
}

function keysIn(
  name: string,
  credentials: unknown,
  env: Readonly<Record<string, string | undefined>>,
): Target['credentials'] {
  const given = credentials as { readonly env: string } | Target['credentials'] | string;
  if (typeof given === 'object' && 'accessKeyId' in given) return given;
  if (typeof given !== 'object' || !('env' in given))
    throw new Error(`"${name}": its credentials must be {"env"} or {"accessKeyId", "secretAccessKey"} here`);
  const read = (suffix: string) => {
    const value = env[`${given.env}_${suffix}`];
    if (!value) throw new Error(`"${name}": ${given.env}_${suffix} is not set`);
    return value;
  };
  return { accessKeyId: read('ACCESS_KEY_ID'), secretAccessKey: read('SECRET_ACCESS_KEY') };
}
