import { existsSync } from 'node:fs';
import { systemClock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import { createIds } from '../../lib/base/ids.ts';
import { findCapabilities } from '../../lib/fleet/find-capabilities.ts';
import { type Arguments, parseArguments, targetsIn } from './arguments.ts';
import { readRecorded, record } from './compatibility.ts';
import { runConformance } from './conformance.ts';
import { runContract } from './contract.ts';
import { endToEnd, runSteps, type Trio } from './end-to-end.ts';
import { homeOf, install } from './recipes.ts';
import { removeBelow } from './remove-below.ts';
import { describeResults, type TargetResult } from './results.ts';
import { type Running, startServer } from './running.ts';
import { bucket, keys, type RealServer, region, servers } from './servers.ts';
import { optionsFor, type Target } from './target.ts';
import { tell } from './told.ts';

/**
 * `npm run test:real -- [names…]`: what nobody here wrote must work. Installs and starts real servers on this machine, tries
 * each alone and three together, stops them, and prints a table. `--cached` leaves out what is not installed; `--endpoints
 * <file.json>` tries servers that are there already; `--record` writes docs/compatibility.md. `main.ts` starts it, gives it a
 * folder, and ends with it.
 */
async function main(): Promise<void> {
  const given = parseArguments(process.argv.slice(2));
  const dir = process.env.HOLDFAST_REAL_DIR!;
  const results = given.endpoints === undefined ? await tryServers(given, dir) : await tryEndpoints(given, dir);
  process.stdout.write(`\n${describeResults(results)}\n`);
  if (given.isRecorded) record(results);
  if (results.length === 0) process.stdout.write('No server is installed: none was tried.\n');
  process.exitCode = results.every((result) => result.isWell || isNews(given, result)) ? 0 : 1;
}

// Whoever would have to end it, and all that it started, is gone.
process.on('disconnect', () => process.kill(-process.pid, 'SIGKILL'));
process.channel?.unref();

/** Of what is only cached, one that was never well is told of, and fails nothing. */
function isNews({ isCachedOnly }: Arguments, { name }: TargetResult): boolean {
  return isCachedOnly && !readRecorded().some((known) => known.name === name && known.isWell);
}

/** One server after another: each has the machine to itself. Then the first three that keep what they store, together. */
async function tryServers(given: Arguments, dir: string): Promise<TargetResult[]> {
  const { names, isCachedOnly } = given;
  const until = given.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + given.minutes * 60_000;
  const results: TargetResult[] = [];
  const able: RealServer[] = [];
  for (const server of names.length === 0 ? servers : servers.filter(({ name }) => names.includes(name))) {
    const left = Date.now() > until ? 'time ran out' : await prepare(server, isCachedOnly);
    if (left !== null) {
      say(`${server.name} ${server.version}: left out: ${left}`);
      continue;
    }
    if (!given.onlyTogether) results.push(await twice(given, () => tryServer(server, dir)));
    if (!server.isRefused && server.survivesKill) able.push(server);
  }
  if (able.length < 3 || Date.now() > until) say('three servers together: left out');
  else results.push(await twice(given, () => tryTogether(able.slice(0, 3), dir)));
  return results;
}

/** What others wrote may stumble over a busy machine: what it does every time is what is so. */
async function twice({ triesAgain }: Arguments, attempt: () => Promise<TargetResult>): Promise<TargetResult> {
  const result = await attempt();
  if (result.isWell || !triesAgain) return result;
  say(`${describeResults([result])}\n${result.name}: once more`);
  return attempt();
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

function targetAt(name: string, { endpoint }: Running): Target {
  return { name, endpoint, region, bucket, prefix: 'holdfast/', pathStyle: true, credentials: keys };
}

async function tryServer(server: RealServer, dir: string): Promise<TargetResult> {
  const { name, version } = server;
  let running: Running | undefined;
  try {
    running = await startServer(server, dir);
    const outage = server.survivesKill ? running : undefined;
    const { isRefused = false } = server;
    return await tryTarget({ target: targetAt(name, running), version, dir, outage, isRefused, isOurs: true });
  } catch (error) {
    return { name, version, isWell: false, error: (error as Error).message };
  } finally {
    await running?.close();
  }
}

/** A fleet of three servers, of which the first is killed, comes back, and is drained in the end. */
async function tryTogether(three: readonly RealServer[], dir: string): Promise<TargetResult> {
  const name = three.map((server) => server.name).join(' + ');
  const started: Running[] = [];
  try {
    say(`${name}: end to end`);
    for (const server of three) started.push(await startServer(server, dir));
    const trio = await Promise.all(three.map((server, i) => limited(targetAt(server.name, started[i]!))));
    return await together(name, trio as unknown as Trio, three[0]!.survivesKill ? started[0] : undefined, dir);
  } catch (error) {
    return { name, version: '', isWell: false, error: (error as Error).message };
  } finally {
    for (const running of started) await running.close();
  }
}

async function together(name: string, trio: Trio, outage: Running | undefined, dir: string): Promise<TargetResult> {
  const { steps, refused } = await runSteps(trio, outage, dir);
  const isWell = refused === undefined && steps.every(({ error }) => error === undefined);
  return { name, version: '', isWell, steps, ...(refused !== undefined && { refused }) };
}

async function tryEndpoints({ endpoints, isOwn }: Arguments, dir: string): Promise<TargetResult[]> {
  const results: TargetResult[] = [];
  const targets = targetsIn(endpoints!, isOwn, createIds(systemClock).ulid(), process.env);
  for (const target of targets) {
    say(`${target.name}: writes below "${target.prefix}" alone`);
    await tell({ told: 'writes', target });
    try {
      results.push(await tryTarget({ target, version: '', dir, outage: undefined, isRefused: false, isOurs: false }));
    } finally {
      const left = await removeBelow(target, '').catch((error: Error) => error.message);
      if (left !== 0) say(`${target.name}: something is left below "${target.prefix}": ${left}`);
    }
  }
  const able = targets.filter((_, i) => results[i]!.refused === undefined && results[i]!.error === undefined);
  if (able.length < 3) return results;
  say('three together: end to end');
  const trio = await Promise.all(able.slice(0, 3).map(limited));
  const name = trio.map((target) => target.name).join(' + ');
  return [...results, await together(name, trio as unknown as Trio, undefined, dir)];
}

interface Trial {
  readonly target: Target;
  readonly version: string;
  readonly dir: string;
  /** Absent where it cannot be ended and started here, or would forget what it stored. */
  readonly outage: Pick<Running, 'kill' | 'start'> | undefined;
  /** Whether it is known that `init` must refuse it. */
  readonly isRefused: boolean;
  /** Whether it was started here, so that its buckets may be emptied. */
  readonly isOurs: boolean;
}

async function tryTarget({ target, version, dir, outage, isRefused, isOurs }: Trial): Promise<TargetResult> {
  const { name } = target;
  try {
    say(`${name} ${version}: capabilities`);
    const capabilities = await capabilitiesOf(target);
    say(`${name} ${version}: contract`);
    const contract = await runContract({ ...target, capabilities }, dir);
    say(`${name} ${version}: end to end`);
    const { steps, refused } = await endToEnd(asAsked(target, capabilities), outage, dir);
    if (isOurs) say(`${name} ${version}: conformance`);
    const conformance = isOurs ? await runConformance(target, dir) : undefined;
    const holds = contract.broken.length === 0 && steps.every(({ error }) => error === undefined);
    const isWell = isRefused ? refused !== undefined : refused === undefined && holds;
    return { name, version, isWell, capabilities, contract, steps, ...defined({ refused, conformance }) };
  } catch (error) {
    return { name, version, isWell: false, error: (error as Error).message };
  }
}

function capabilitiesOf(target: Target) {
  return findCapabilities(optionsFor(target, 'probe/'), { ids: createIds(systemClock) });
}

async function limited(target: Target): Promise<Target> {
  return asAsked(target, await capabilitiesOf(target));
}

/** With the `maxObjectBytes` that `init` asks for where no upload in parts is completed. */
function asAsked(target: Target, { maxParts }: Awaited<ReturnType<typeof capabilitiesOf>>): Target {
  return maxParts === 0 ? { ...target, maxObjectBytes: 5_242_880 } : target;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

await main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
