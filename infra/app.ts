import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Annotations, App, Validations } from 'aws-cdk-lib';
import { Code } from 'aws-cdk-lib/aws-lambda';
import { AwsSolutionsChecks } from 'cdk-nag';
import { ConfigError } from '../lib/config/problems.ts';
import type { Actor } from './access.ts';
import { type Bundle, bundleFunction, projectRoot } from './bundle.ts';
import { options } from './deployment.ts';
import { givenValues } from './given.ts';
import { HoldfastStack } from './stack.ts';
import { planDeployment } from './validate.ts';

/** `cdk synth` and `cdk deploy` run this file; `cdk.json` says how. */
function main(): void {
  const app = new App();
  const { tuning, deployment } = givenValues(app.node.getAllContext(), process.env);
  const source = deployment.HOLDFAST_FLEET ?? options.HOLDFAST_FLEET!.default;
  const plan = planDeployment(fleetText(source), tuning, deployment);
  const code = (actor: Actor) => Code.fromAsset(bundleOf(actor).dir);
  const stack = new HoldfastStack(app, { plan, code, deployedAt: new Date().toISOString() });
  if (deployment.HOLDFAST_FLEET === undefined)
    Annotations.of(stack).addWarningV2('holdfast:example', `HOLDFAST_FLEET is not set: this is the example, ${source}`);
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
}

/** In the same place on every machine, so that paths in source maps, and with them the assets, are the same. */
function bundleOf(actor: Actor): Bundle {
  const dir = join(projectRoot, 'node_modules', '.cache', 'holdfast', actor);
  return bundleFunction(actor, dir);
}

function fleetText(source: string): string {
  if (source.trimStart().startsWith('{')) return source;
  try {
    return readFileSync(resolve(projectRoot, source), 'utf8');
  } catch (error) {
    throw new ConfigError('The fleet file cannot be read', [`"${source}": ${(error as Error).message}`]);
  }
}

try {
  main();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
