import { resolve } from 'node:path';
import { App, Validations } from 'aws-cdk-lib';
import { Code } from 'aws-cdk-lib/aws-lambda';
import { AwsSolutionsChecks } from 'cdk-nag';
import { defined } from '../lib/base/defined.ts';
import { ConfigError } from '../lib/config/problems.ts';
import type { Actor } from './actors.ts';
import { bundleFunction, projectRoot } from './bundle.ts';
import { parseDeployment, propsOf } from './deployment.ts';
import { givenValues } from './given.ts';
import { fleetText } from './props.ts';
import { HoldfastDataStack, HoldfastWorkersStack } from './stacks.ts';
import { planDeployment } from './validate.ts';

/** `cdk synth` and `cdk deploy` run this file; `cdk.json` says how. Two stacks: the tables, and what works on them. */
function main(): void {
  const app = new App();
  const { tuning, deployment: given } = givenValues(app.node.getAllContext(), process.env);
  const source = given.HOLDFAST_FLEET ?? '';
  const fleet = fleetText(source.trimStart().startsWith('{') || source === '' ? source : resolve(projectRoot, source));
  // Everything at once, under the names of the options, before anything is made.
  planDeployment(fleet, tuning, given);
  const deployment = parseDeployment(given);
  const { OBJECTS_TABLE: objects, QUEUE_TABLE: queue, CONTROL_TABLE: control } = tuning;
  const names = defined({ objects, queue, control });
  const data = new HoldfastDataStack(app, `${deployment.stackName}-data`, {
    names,
    capacity: deployment.isProvisioned ? 'provisioned' : 'on-demand',
    deletionProtection: deployment.isProtected,
  });
  const workers = new HoldfastWorkersStack(app, deployment.stackName, {
    ...propsOf(deployment),
    fleet,
    tuning,
    tables: names,
    deployedAt: new Date().toISOString(),
    code: (actor) => Code.fromAsset(bundleOf(actor)),
  });
  workers.addStackDependency(data, 'The workers read and write the tables');
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
}

/** In the same place on every machine, so that paths in source maps, and with them the assets, are the same. */
function bundleOf(actor: Actor): string {
  return bundleFunction(actor, resolve(projectRoot, 'node_modules', '.cache', 'holdfast', actor)).dir;
}

try {
  main();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
