import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { findCapabilities } from '../../lib/fleet/find-capabilities.ts';
import { type Arguments, parseArguments, targetsIn } from './arguments.ts';
import { runContract } from './contract.ts';
import { endToEnd } from './end-to-end.ts';
import { homeOf, install } from './recipes.ts';
import { describeResults, type TargetResult } from './results.ts';
import { type Running, startServer } from './running.ts';
import { bucket, keys, type RealServer, region, servers } from './servers.ts';
import { optionsFor, type Target } from './target.ts';

/**
 * `npm run test:real -- [names…]`: what nobody here wrote must work. Installs and starts real servers on this machine, tries
 * each alone and three together, stops them, and prints a table. `--cached` leaves out what is not installed; `--endpoints
 * <file.json>` tries servers that are there already.
 */
async function main(): Promise<void> {
  const given = parseArguments(process.argv.slice(2));
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-real-'));
  try {
    const results = given.endpoints === undefined ? await tryServers(given, dir) : await tryEndpoints(given, dir);
    process.stdout.write(`\n${describeResults(results)}\n`);
    process.exitCode = results.every(({ isWell }) => isWell) ? 0 : 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** One server after another: each has the machine to itself. */
async function tryServers({ names, isCachedOnly }: Arguments, dir: string): Promise<TargetResult[]> {
  const chosen = names.length === 0 ? servers : servers.filter(({ name }) => names.includes(name));
  const results: TargetResult[] = [];
  for (const server of chosen) {
    const left = await prepare(server, isCachedOnly);
    if (left !== null) {
      say(`${server.name} ${server.version}: left out: ${left}`);
      continue;
    }
    results.push(await tryServer(server, dir));
  }
  return results;
}

/** Null when it is installed; else why it is left out. */
async function prepare({ name, version, recipe }: RealServer, isCachedOnly: boolean): Promise<string | null> {
  if (existsSync(homeOf(name, version))) return null;
  if (isCachedOnly) return 'not installed';
  say(`${name} ${version}: installing with ${recipe.client}`);
  try {
    await install(name, version, recipe);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

async function tryServer(server: RealServer, dir: string): Promise<TargetResult> {
  const { name, version } = server;
  let running: Running | undefined;
  try {
    running = await startServer(server);
    const { endpoint } = running;
    const target = { name, endpoint, region, bucket, prefix: 'holdfast/', pathStyle: true, credentials: keys };
    return await tryTarget({ target, version, dir, outage: server.survivesKill ? running : undefined });
  } catch (error) {
    return { name, version, isWell: false, error: (error as Error).message };
  } finally {
    await running?.close();
  }
}

async function tryEndpoints({ endpoints, isOwn }: Arguments, dir: string): Promise<TargetResult[]> {
  const results: TargetResult[] = [];
  for (const target of targetsIn(endpoints!, isOwn, createIds(systemClock).ulid()))
    results.push(await tryTarget({ target, version: '', dir, outage: undefined }));
  return results;
}

interface Trial {
  readonly target: Target;
  readonly version: string;
  readonly dir: string;
  /** Absent where it cannot be ended and started here, or would forget what it stored. */
  readonly outage: Pick<Running, 'kill' | 'start'> | undefined;
}

async function tryTarget({ target, version, dir, outage }: Trial): Promise<TargetResult> {
  const { name } = target;
  try {
    say(`${name} ${version}: capabilities`);
    const capabilities = await findCapabilities(optionsFor(target, 'capabilities/'), { ids: createIds(systemClock) });
    say(`${name} ${version}: contract`);
    const contract = await runContract({ ...target, capabilities }, dir);
    say(`${name} ${version}: end to end`);
    const steps = await endToEnd(target, outage, dir);
    const isWell = contract.broken.length === 0 && steps.every(({ error }) => error === undefined);
    return { name, version, isWell, capabilities, contract, steps };
  } catch (error) {
    return { name, version, isWell: false, error: (error as Error).message };
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

await main();
