import { CustomResource, Duration } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { type PackedFleet, packFleet } from '../lib/config/packed-fleet.ts';
import { FleetFunction, type FleetFunctionProps } from './fleet-function.ts';

export interface AppliedFleetProps extends Pick<FleetFunctionProps, 'plan' | 'tables' | 'code' | 'network'> {
  /** Different at every deployment where each shall apply the file. */
  readonly deployedAt: string;
}

const timeoutSeconds = 300;

/** Puts the fleet file in force when a deployment changes it; a rollback applies the older file as a new version. */
export class AppliedFleet extends Construct {
  readonly function: FleetFunction;

  constructor(scope: Construct, id: string, { plan, tables, code, network, deployedAt }: AppliedFleetProps) {
    super(scope, id);
    this.function = new FleetFunction(this, 'Apply', {
      actor: 'apply',
      plan,
      tables,
      code,
      network,
      timeoutSeconds,
      memoryMb: 512,
    });
    const resource = new CustomResource(this, 'Fleet', {
      resourceType: 'Custom::HoldfastFleet',
      serviceToken: this.function.lambda.functionArn,
      serviceTimeout: Duration.seconds(timeoutSeconds + 30),
      properties: { ...packed(plan.fleetText), applies: String(plan.deployment.appliesFleet), deployedAt },
    });
    resource.node.addDependency(tables, this.function);
  }
}

/** What is only known at deployment travels beside the text. */
function packed(fleetText: string): PackedFleet {
  const text = JSON.stringify(JSON.parse(fleetText));
  return packFleet(text, [...new Set(text.match(/\$\{Token\[[^\]]+\]\}/g))]);
}
