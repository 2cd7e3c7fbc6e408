import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { workerNames } from '../lib/config/parameters.ts';
import { HoldfastFleet } from './holdfast-fleet.ts';
import { HoldfastTables, type HoldfastTablesProps } from './holdfast-tables.ts';
import type { HoldfastFleetProps } from './props.ts';

/** The tables alone, in a stack that refuses to be deleted. */
export class HoldfastDataStack extends Stack {
  readonly tables: HoldfastTables;

  constructor(scope: Construct, id: string, props: HoldfastTablesProps & StackProps = {}) {
    super(scope, id, {
      description: 'Holdfast: what is where. Keep it as long as the buckets hold anything',
      terminationProtection: props.deletionProtection ?? true,
      ...props,
    });
    this.tables = new HoldfastTables(this, 'Tables', props);
  }
}

/** Everything that works on a fleet. It may be rolled back, destroyed and deployed again at any time. */
export class HoldfastWorkersStack extends Stack {
  readonly fleet: HoldfastFleet;

  constructor(scope: Construct, id: string, props: HoldfastFleetProps & StackProps) {
    super(scope, id, { description: 'Holdfast: upkeep of objects on several backends', ...props });
    this.fleet = new HoldfastFleet(this, 'Fleet', { name: id, ...props });
    const { topic, alarmCost, applyFunction, functions } = this.fleet;
    new CfnOutput(this, 'AlarmTopic', { value: topic.topicArn, description: 'Where alarms are sent' });
    new CfnOutput(this, 'AlarmCost', { value: alarmCost, description: 'At list price, us-east-1' });
    new CfnOutput(this, 'ApplyFunction', {
      value: applyFunction.functionName,
      description: 'Invoke it with {} to apply the fleet file again',
    });
    // For bucket policies of other accounts.
    for (const actor of ['apply', ...workerNames] as const)
      new CfnOutput(this, `Role${actor.split('-').map(titled).join('')}`, {
        value: (actor === 'apply' ? applyFunction : functions[actor]).role!.roleArn,
      });
  }
}

function titled(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
