import { parameters } from '../lib/config/parameters.ts';
import { ConfigError } from '../lib/config/problems.ts';
import { options } from './deployment.ts';

/** Values by name, as they were given. */
export interface Given {
  /** Parameters of the workers. */
  readonly tuning: Readonly<Record<string, string>>;
  /** Options of the deployment. */
  readonly deployment: Readonly<Record<string, string>>;
}

/** Read by other programs of the project, not by a deployment. */
const elsewhere: ReadonlySet<string> = new Set(['HOLDFAST_MUTANT', 'HOLDFAST_STAND_IN']);

/**
 * Collects parameters and options from the CDK context (`cdk.json`, `-c NAME=value`) and from the environment.
 * A name that is given in both with different values, or that looks like ours and is not, is a problem.
 */
export function givenValues(
  context: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
): Given {
  const problems: string[] = [];
  const collect = (names: readonly string[]) => {
    const entries = names.flatMap((name): [string, string][] => {
      const inContext = textOf(context[name]);
      const set = env[name] === '' ? undefined : env[name];
      if (inContext !== undefined && set !== undefined && inContext !== set)
        problems.push(`${name} is "${inContext}" in the context and "${set}" in the environment: give it once`);
      const value = inContext ?? set;
      return value === undefined ? [] : [[name, value]];
    });
    return Object.fromEntries(entries);
  };
  const given = { tuning: collect(Object.keys(parameters)), deployment: collect(Object.keys(options)) };
  for (const name of Object.keys(context)) {
    if (/^[A-Z][A-Z0-9_]+$/.test(name) && !(name in parameters) && !(name in options))
      problems.push(`"${name}" in the context is neither a parameter nor an option`);
  }
  for (const name of Object.keys(env)) {
    if (
      name.startsWith('HOLDFAST_') &&
      env[name] !== '' &&
      !(name in options) &&
      !(name in parameters) &&
      !elsewhere.has(name)
    )
      problems.push(`"${name}" in the environment is not an option`);
  }
  if (problems.length > 0) throw new ConfigError('The context has problems', problems);
  return given;
}

/** JSON of `cdk.json` may hold numbers, flags, and a fleet file as it is. */
function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  return typeof value === 'string' ? value : typeof value === 'object' ? JSON.stringify(value) : String(value);
}
