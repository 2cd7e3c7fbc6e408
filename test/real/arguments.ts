import { readFileSync } from 'node:fs';
import { isPrivateHost } from '../../lib/config/endpoints.ts';
import { servers } from './servers.ts';
import type { Target } from './target.ts';

export interface Arguments {
  readonly names: readonly string[];
  /** What is not installed is left out. */
  readonly isCachedOnly: boolean;
  /** Path of a file of servers that are there already. */
  readonly endpoints?: string;
  /** Whoever runs this owns them, wherever they are. */
  readonly isOwn: boolean;
}

export function parseArguments(given: readonly string[]): Arguments {
  const rest = [...given];
  const isCachedOnly = takeFlag(rest, '--cached');
  const isOwn = takeFlag(rest, '--yes-i-own-this');
  const at = rest.indexOf('--endpoints');
  const [, endpoints] = at === -1 ? [] : rest.splice(at, 2);
  if (at !== -1 && endpoints === undefined) throw new Error('--endpoints needs the path of a file');
  const unknown = rest.filter((name) => !servers.some((server) => server.name === name));
  if (unknown.length > 0)
    throw new Error(`There is no server "${unknown[0]}" here; there are ${servers.map(({ name }) => name).join(', ')}`);
  return { names: rest, isCachedOnly, isOwn, ...(endpoints !== undefined && { endpoints }) };
}

function takeFlag(args: string[], flag: string): boolean {
  const at = args.indexOf(flag);
  if (at !== -1) args.splice(at, 1);
  return at !== -1;
}

/** One entry of a file of servers. */
interface Given {
  readonly name: string;
  readonly endpoint: string;
  readonly region?: string;
  readonly bucket: string;
  readonly prefix?: string;
  readonly pathStyle?: boolean;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | { readonly env: string };
}

/**
 * Servers that are there already: an array of backends as a fleet file has them. What is tried is written below a prefix of
 * this run alone. Hundreds of requests go there: none that is not on this machine is asked before its owner said so.
 */
export function targetsIn(path: string, isOwn: boolean, runId: string): Target[] {
  const given = JSON.parse(readFileSync(path, 'utf8')) as readonly Given[];
  return given.map(({ name, endpoint, region = 'us-east-1', bucket, prefix = '', pathStyle = false, credentials }) => {
    if (!isOwn && !isLoopback(endpoint))
      throw new Error(`"${name}" at ${endpoint} is not on this machine: say --yes-i-own-this if it is yours to try`);
    const at = `${prefix}holdfast-real-${runId}/`;
    return { name, endpoint, region, bucket, prefix: at, pathStyle, credentials: keysIn(credentials) };
  });
}

function isLoopback(endpoint: string): boolean {
  const { hostname } = new URL(endpoint);
  return isPrivateHost(hostname) && /^(localhost\.?|127\.[\d.]+|\[::1\])$/.test(hostname);
}

function keysIn(credentials: Given['credentials']): Target['credentials'] {
  if (!('env' in credentials)) return credentials;
  const read = (suffix: string) => {
    const value = process.env[`${credentials.env}_${suffix}`];
    if (!value) throw new Error(`${credentials.env}_${suffix} is not set`);
    return value;
  };
  return { accessKeyId: read('ACCESS_KEY_ID'), secretAccessKey: read('SECRET_ACCESS_KEY') };
}
