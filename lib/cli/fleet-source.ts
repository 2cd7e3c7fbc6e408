import { readFileSync } from 'node:fs';
import type { FleetFile } from '../config/fleet-file.ts';
import { parseFleetText } from '../config/parse-fleet-file.ts';
import { ConfigError } from '../config/problems.ts';
import type { Env } from '../process/process.ts';
import { fileProblem } from './failure.ts';

/** The fleet file that `--fleet` or `HOLDFAST_FLEET` gives: a path, or the file itself as JSON. Throws `ConfigError`. */
export function readFleetFile(env: Env, option?: string): FleetFile {
  const given = option ?? env.HOLDFAST_FLEET;
  if (given === undefined || given.trim() === '') {
    throw new ConfigError('There is no fleet file', [
      'HOLDFAST_FLEET is not set; it must hold the path of the fleet file, or the file itself as JSON',
    ]);
  }
  return parseFleetText(fleetText(given));
}

export function fleetText(given: string): string {
  if (given.trimStart().startsWith('{')) return given;
  try {
    return readFileSync(given, 'utf8');
  } catch (error) {
    throw new ConfigError('The fleet file cannot be read', [`"${given}": ${fileProblem(error)}`]);
  }
}
