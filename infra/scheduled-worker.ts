import type { Role } from 'aws-cdk-lib/aws-iam';
import { CfnSchedule, type ScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { scheduleMs, type WorkerName, type WorkerParameters } from '../lib/config/parameters.ts';
import { FleetFunction, type FleetFunctionProps } from './fleet-function.ts';

export interface ScheduledWorkerProps extends Pick<FleetFunctionProps, 'plan' | 'tables' | 'code' | 'network'> {
  readonly worker: WorkerName;
  readonly group: ScheduleGroup;
  readonly schedulerRole: Role;
  readonly deadLetters: Queue;
}

/** EventBridge Scheduler and Lambda take event ages from a minute on. */
const shortestAge = 60;
/** Lambda keeps an asynchronous event for at most six hours. */
const longestAge = 21_600;

/** One worker: its function, and a schedule for each of its parts. A late event is worth nothing once the next one comes. */
export class ScheduledWorker extends Construct {
  readonly worker: WorkerName;
  readonly function: FleetFunction;
  readonly tuning: WorkerParameters;

  constructor(scope: Construct, props: ScheduledWorkerProps) {
    super(scope, props.worker);
    const { worker, plan, tables, code, network, group, schedulerRole, deadLetters } = props;
    const tuning = plan.parameters.workers[worker];
    const periodSeconds = (scheduleMs(tuning.schedule) ?? 60_000) / 1000;
    const maxEventAgeSeconds = Math.min(Math.max(periodSeconds, shortestAge), longestAge);
    this.worker = worker;
    this.tuning = tuning;
    this.function = new FleetFunction(this, 'Worker', {
      actor: worker,
      plan,
      tables,
      code,
      network,
      ...plan.deployment.sizes[worker],
      maxEventAgeSeconds,
      ...(plan.deployment.reservesConcurrency && { concurrency: tuning.parts }),
    });
    for (let part = 0; part < tuning.parts; part += 1) {
      new CfnSchedule(this, `Schedule${part}`, {
        // Without a name of its own: CloudFormation's tells fleets apart.
        groupName: group.scheduleGroupName,
        scheduleExpression: tuning.schedule,
        state: tuning.enabled ? 'ENABLED' : 'DISABLED',
        flexibleTimeWindow: { mode: 'OFF' },
        target: {
          arn: this.function.lambda.functionArn,
          roleArn: schedulerRole.roleArn,
          input: JSON.stringify({ scheduledTime: '<aws.scheduler.scheduled-time>', part, of: tuning.parts }),
          retryPolicy: { maximumRetryAttempts: 0, maximumEventAgeInSeconds: maxEventAgeSeconds },
          deadLetterConfig: { arn: deadLetters.queueArn },
        },
      });
    }
  }
}
