import { existsSync, readFileSync, rmSync } from 'node:fs';
import { type Clock, systemClock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import { createIds } from '../base/ids.ts';
import type { FleetFile } from '../config/fleet-file.ts';
import { parseFleetFile, parseFleetText } from '../config/parse-fleet-file.ts';
import { startDynamo } from './dynamodb.ts';
import { lockFolder } from './folder-lock.ts';
import { endLeftovers } from './leftovers.ts';
import { isTaken, onFirstFree, portsFrom } from './ports.ts';
import { createS3Server, type S3Server } from './s3/server.ts';
import {
  defaultFleetText,
  newKeys,
  readState,
  type ServedBackend,
  type StackPaths,
  servedFleet,
  stackPaths,
  writeJson,
} from './stack-files.ts';

export interface StackOptions {
  /** Everything is kept here: tables, objects, fleet file, ports. Started again on it, a stack goes on where it was. */
  readonly dir: string;
  /** How many backends a new stack has [3]. */
  readonly backends?: number;
  /** Text of a fleet file to serve instead: its endpoints and credentials are replaced. */
  readonly fleetText?: string;
  /** Also opens a port per backend through which another process tells it to misbehave. */
  readonly withFaults?: boolean;
  /** Begins with nothing: what is in the folder goes. */
  readonly isFresh?: boolean;
  readonly clock?: Clock;
  /** Where to try to serve what has no port yet [at random, below the ports that systems hand out]. */
  readonly newPort?: () => number;
}

/** One embedded backend of a running stack. */
export interface StackBackend {
  readonly name: string;
  readonly bucket: string;
  readonly server: S3Server;
  /** Where its files can be looked at. */
  readonly folder: string;
}

/** A DynamoDB and S3 servers on 127.0.0.1, for this machine alone. */
export interface Stack {
  readonly dir: string;
  readonly dynamodbEndpoint: string;
  /** Path of the fleet file. */
  readonly fleetPath: string;
  readonly fleet: FleetFile;
  readonly backends: readonly StackBackend[];
  /** What the CLI and the library need in their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends every server. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts the embedded stack in a folder. Tables and fleet are not made: that is `init`, as everywhere.
 * After a crash or `kill -9` of an earlier run, its leftovers are ended first.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const clock = options.clock ?? systemClock;
  const paths = stackPaths(options.dir);
  const closers: (() => Promise<void> | void)[] = [lockFolder(paths.dir)];
  const close = async () => {
    for (const end of closers.splice(0).reverse()) await end();
  };
  try {
    await endLeftovers(paths.database, clock);
    if (options.isFresh) for (const path of paths.contents) rmSync(path, { recursive: true, force: true });
    return await start(options, clock, paths, closers, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  options: StackOptions,
  clock: Clock,
  paths: StackPaths,
  closers: (() => Promise<void> | void)[],
  close: () => Promise<void>,
): Promise<Stack> {
  const { newPort = portsFrom(createIds(clock)) } = options;
  const before = readState(paths);
  const text = options.fleetText ?? fleetTextThere(paths) ?? defaultFleetText(options.backends ?? 3);
  // On the port it had, so that what was exported still holds; on another when that one is taken.
  const dynamo = await startDynamo({
    dbPath: paths.database,
    port: before.dynamodbPort ?? newPort(),
    otherPort: newPort,
    clock,
  });
  closers.push(() => dynamo.close());
  const served: Record<string, ServedBackend> = {};
  const backends: StackBackend[] = [];
  for (const { name, bucket } of parseFleetText(text).backends) {
    const known = before.backends[name];
    const keys = known ?? newKeys(name);
    const serve = (port: number) =>
      createS3Server({
        dir: paths.backend(name),
        buckets: [bucket],
        port,
        credentials: [keys],
        clock,
        ...defined({ controlPort: options.withFaults === true ? 0 : undefined }),
      });
    const server = known === undefined ? await onFirstFree(newPort, serve) : await onItsPort(name, known.port, serve);
    closers.push(() => server.close());
    served[name] = { ...keys, port: server.port };
    backends.push({ name, bucket, server, folder: `${paths.backend(name)}/${bucket}/objects` });
  }
  // Written before anybody is told of them: a port once used by a backend stays its own.
  writeJson(paths.state, {
    dynamodbPort: Number(new URL(dynamo.endpoint).port),
    backends: { ...before.backends, ...served },
  });
  const fleetJson = servedFleet(text, (name) => served[name]!);
  const fleet = parseFleetFile(fleetJson);
  writeJson(paths.fleet, fleetJson);
  return {
    dir: paths.dir,
    dynamodbEndpoint: dynamo.endpoint,
    fleetPath: paths.fleet,
    fleet,
    backends,
    env: {
      AWS_ENDPOINT_URL_DYNAMODB: dynamo.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
      HOLDFAST_FLEET: paths.fleet,
      // Everything here is on this machine.
      HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: 'true',
    },
    close,
  };
}

function fleetTextThere(paths: StackPaths): string | undefined {
  return existsSync(paths.fleet) ? readFileSync(paths.fleet, 'utf8') : undefined;
}

type Serve = (port: number) => Promise<S3Server>;

/** Its objects are recorded there. */
async function onItsPort(name: string, port: number, serve: Serve): Promise<S3Server> {
  try {
    return await serve(port);
  } catch (error) {
    if (!isTaken(error)) throw error;
    throw new Error(`Port ${port} is taken by another program; backend "${name}" was served there and cannot move`);
  }
}
