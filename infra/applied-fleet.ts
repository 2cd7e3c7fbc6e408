import { CustomResource, Duration } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { FleetFunction, type FleetFunctionProps } from './fleet-function.ts';

export interface AppliedFleetProps extends Pick<FleetFunctionProps, 'plan' | 'tables' | 'code'> {
  /** Different at every deployment, so that each applies the file. */
  readonly deployedAt: string;
}

const timeoutSeconds = 300;

/** Puts the fleet file in force at every deployment; a rollback applies the older file as a new version. */
export class AppliedFleet extends Construct {
  readonly function: FleetFunction;

  constructor(scope: Construct, id: string, { plan, tables, code, deployedAt }: AppliedFleetProps) {
    super(scope, id);
    this.function = new FleetFunction(this, 'Apply', {
      actor: 'apply',
      plan,
      tables,
      code,
      timeoutSeconds,
      memoryMb: 512,
    });
    const resource = new CustomResource(this, 'Fleet', {
      resourceType: 'Custom::HoldfastFleet',
      serviceToken: this.function.lambda.functionArn,
      serviceTimeout: Duration.seconds(timeoutSeconds + 30),
      // One text: CloudFormation turns every number and flag of a structure into a string.
      properties: { fleet: JSON.stringify(JSON.parse(plan.fleetText)), deployedAt },
    });
    resource.node.addDependency(tables, this.function);
  }
}
