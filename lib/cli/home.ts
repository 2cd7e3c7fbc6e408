import { existsSync } from 'node:fs';
import { systemClock } from '../base/clock.ts';
import { FolderInUse } from '../local/folder-lock.ts';
import { type Home, openHome } from '../local/home.ts';
import type { Env } from '../process/process.ts';
import type { DynamoClientOptions } from '../store/dynamodb/client.ts';
import { CommandError, UsageError } from './failure.ts';

/** Where `run` keeps the tables when nothing says otherwise. */
export const defaultHome = '.holdfast/run';

const tableNames = ['OBJECTS_TABLE', 'QUEUE_TABLE', 'CONTROL_TABLE', 'AWS_ENDPOINT_URL_DYNAMODB', 'AWS_ENDPOINT_URL'];
const awsNames = ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE'];

/**
 * The folder that holds the tables: `HOLDFAST_HOME`, else the usual one where the environment configures no DynamoDB.
 * Undefined: the tables are in DynamoDB. Throws `UsageError` when both are said.
 */
export function homeFolder(env: Env): string | undefined {
  const isSet = (name: string) => (env[name] ?? '') !== '';
  const tables = tableNames.find(isSet);
  const given = isSet('HOLDFAST_HOME') ? env.HOLDFAST_HOME : undefined;
  if (given !== undefined && tables !== undefined)
    throw new UsageError(
      `HOLDFAST_HOME says that the tables are kept in "${given}", and ${tables} that they are in DynamoDB: unset one of them`,
    );
  if (given !== undefined) return given;
  return tables === undefined && !awsNames.some(isSet) ? defaultHome : undefined;
}

/** The tables for one command; undefined where they are in DynamoDB, or nobody has made them yet. */
export async function attachHome(env: Env): Promise<Home | undefined> {
  const dir = homeFolder(env);
  if (dir === undefined) return undefined;
  const isThere = existsSync(dir) || (env.HOLDFAST_HOME ?? '') !== '';
  return isThere ? open(dir, false) : undefined;
}

/** The tables, served from here. */
export function serveHome(dir: string): Promise<Home> {
  return open(dir, true);
}

async function open(dir: string, isServer: boolean): Promise<Home> {
  try {
    return await openHome({ dir, clock: systemClock, isServer });
  } catch (error) {
    if (error instanceof FolderInUse) throw new CommandError('in-use', error.message);
    throw error;
  }
}

/** How a process reaches tables that are kept here: only this machine does, and no key is asked for. */
export function dynamodbOf({ endpoint }: Home): DynamoClientOptions {
  return { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
}
