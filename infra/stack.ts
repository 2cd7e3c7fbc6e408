import { CfnOutput, Duration, Stack, Validations } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Code } from 'aws-cdk-lib/aws-lambda';
import { ScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { workerNames } from '../lib/config/parameters.ts';
import type { Actor } from './access.ts';
import { FleetAlarms } from './alarms.ts';
import { AppliedFleet } from './applied-fleet.ts';
import { addDashboard } from './dashboard.ts';
import { ScheduledWorker } from './scheduled-worker.ts';
import { FleetTables } from './tables.ts';
import type { Plan } from './validate.ts';

export interface HoldfastStackProps {
  readonly plan: Plan;
  /** The bundled code of a function. */
  readonly code: (actor: Actor) => Code;
  readonly deployedAt: string;
}

/** A whole fleet: three tables, a scheduled function per worker, the fleet file in force, alarms and a dashboard. */
export class HoldfastStack extends Stack {
  constructor(scope: Construct, { plan, code, deployedAt }: HoldfastStackProps) {
    super(scope, plan.deployment.stackName, { description: 'Holdfast: upkeep of objects on several backends' });
    const tables = new FleetTables(this, 'Tables', plan);
    const applied = new AppliedFleet(this, 'AppliedFleet', { plan, tables, code: code('apply'), deployedAt });
    const deadLetters = this.deadLetters();
    const group = new ScheduleGroup(this, 'Schedules', { scheduleGroupName: plan.deployment.stackName });
    const schedulerRole = this.schedulerRole(plan.deployment.stackName);
    const workers = workerNames.map(
      (worker) =>
        new ScheduledWorker(this, { worker, plan, tables, code: code(worker), group, schedulerRole, deadLetters }),
    );
    schedulerRole.addToPolicy(
      new PolicyStatement({
        actions: ['lambda:InvokeFunction'],
        resources: workers.map((worker) => worker.function.lambda.functionArn),
      }),
    );
    schedulerRole.addToPolicy(new PolicyStatement({ actions: ['sqs:SendMessage'], resources: [deadLetters.queueArn] }));
    // A worker has nothing to go by before a fleet file is in force.
    for (const worker of workers) worker.node.addDependency(applied);
    const alarms = new FleetAlarms(this, 'Alarms', { plan, tables, workers, deadLetters });
    if (plan.deployment.hasDashboard) addDashboard(this, plan, workers);
    new CfnOutput(this, 'AlarmTopic', { value: alarms.topic.topicArn, description: 'Where alarms are sent' });
    new CfnOutput(this, 'AlarmCost', { value: alarms.cost, description: 'At list price, us-east-1' });
  }

  /** Events that Scheduler could not deliver. */
  private deadLetters(): Queue {
    const queue = new Queue(this, 'DeadLetters', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    Validations.of(queue).acknowledge({ id: 'AwsSolutions-SQS3', reason: 'It is the dead-letter queue itself' });
    return queue;
  }

  private schedulerRole(groupName: string): Role {
    const sourceArn = this.formatArn({ service: 'scheduler', resource: 'schedule-group', resourceName: groupName });
    return new Role(this, 'SchedulerRole', {
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': this.account, 'aws:SourceArn': sourceArn } },
      }),
    });
  }
}
